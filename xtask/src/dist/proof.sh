# What an administrator does with the package, in a system that systemd has booted. The first boot:
# installation, one command to a gate that serves, the XDP program, mail, the rights of daemon and
# group. The second: all of that is there again; then an upgrade, also of a gate whose daemon was
# root, removal and purge. The first step that fails ends it.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
address=2001:db8:25::25
opted_in=2001:db8:25::26

step() { echo "proof, $(cat /proof/boot) boot: $*"; }

fail() {
    echo "proof: FAILED: $*"
    journalctl --no-pager --unit sixgate --unit sixgate-attach --lines 40
    exit 1
}

# greeting ADDRESS: the first line of a session
greeting() { timeout 10 bash -c 'exec 3<>"/dev/tcp/$0/25"; read -r line <&3; echo "$line"' "$1"; }

# recipient ADDRESS: the reply to a recipient
recipient() {
    timeout 10 bash -c '
        exec 3<>"/dev/tcp/$0/25"; read -r _ <&3
        for command in "HELO client.example" "MAIL FROM:<a@client.example>" "RCPT TO:<b@contoso.com>"; do
            printf "%s\r\n" "$command" >&3; read -r line <&3
        done
        echo "$line"' "$1"
}

# message ADDRESS: the reply to a message
message() {
    timeout 20 bash -c '
        exec 3<>"/dev/tcp/$0/25"; read -r _ <&3
        for command in "HELO client.example" "MAIL FROM:<a@client.example>" "RCPT TO:<b@contoso.com>" DATA; do
            printf "%s\r\n" "$command" >&3; read -r line <&3
        done
        printf "Subject: proof\r\n\r\nproof\r\n.\r\n" >&3; read -r line <&3
        echo "$line"' "$1"
}

# wait_for_program INTERFACE
wait_for_program() {
    for _ in $(seq 300); do
        if ip link show "$1" | grep -q xdp; then return; fi
        sleep 0.1
    done
    systemctl --no-pager status sixgate-attach.path sixgate-attach.service || :
    fail "no XDP program on $1"
}

delivers() {
    reply=$(message $opted_in)
    case $reply in
    "250 "*) ;;
    *) fail "a message got: $reply" ;;
    esac
    grep -q "^Subject: proof" /var/mail/sixgate/new/* || fail "the message is not in the Maildir"
}

# agrees: kernel, daemon, store and configuration are in line; there is no DNS here
agrees() {
    for _ in $(seq 300); do
        report=$(sixgate status 2>&1 | grep -v "^sixgate: DNS does not answer" || :)
        case $report in
        *"ready      yes"*) if ! echo "$report" | grep "^sixgate: " | grep -qv "^sixgate: warning: "; then return; fi ;;
        esac
        sleep 0.1
    done
    fail "not as configured: $report"
}

# capabilities: those of the daemon, as /proc has them
capabilities() { sed -n 's/^CapEff:[[:space:]]*//p' "/proc/$(systemctl show --value --property MainPID sixgate)/status"; }

has_few_rights() {
    [ "$(ps -o user= -p "$(systemctl show --value --property MainPID sixgate)")" = sixgate ] || fail "the daemon is not user sixgate"
    # CAP_NET_BIND_SERVICE, CAP_BPF
    [ "$(capabilities)" = 0000008000000400 ] || fail "the daemon has capabilities $(capabilities)"
}

refuses() {
    reply=$(recipient $address)
    case $reply in
    "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6."*) ;;
    *) fail "a destination that has not opted in got: $reply" ;;
    esac
}

# left: what is there of the package, beside apt's and dpkg's own records
left() {
    find / -xdev \( -path /proof -o -path /proc -o -path /sys -o -path /var/log -o -path /var/lib/dpkg \
        -o -path /var/cache -o -path /tmp \) -prune -o -name '*sixgate*' -print
    ls -d /sys/fs/bpf/sixgate /run/sixgate /run/systemd/units/*sixgate* 2>/dev/null || :
    dpkg-query --show sixgate 2>/dev/null || :
}

ip -6 address add $address/128 dev lo
ip -6 address add $opted_in/128 dev lo
ip link set lo up

case $(cat /proof/boot) in
first)
    step "apt install"
    apt-get install --yes --no-install-recommends /proof/sixgate.deb
    test -e /var/lib/sixgate/store.db || fail "no opt-in store"
    test -e /usr/share/man/man8/sixgate.8.gz || fail "no manual page"
    [ "$(systemctl is-active sixgate)" = inactive ] || fail "the daemon was started"
    [ "$(systemctl is-enabled sixgate)" = disabled ] || fail "the daemon was enabled"
    [ "$(stat -c '%U %G %a' /var/lib/sixgate/store.db)" = "sixgate sixgate 640" ] || fail "the store is not of user sixgate"
    sixgate config check

    step "one command to a gate that serves"
    systemctl enable --now sixgate
    case $(greeting ::1) in
    "220 gate.example "*) ;;
    *) fail "no greeting" ;;
    esac
    sixgate status || :
    has_few_rights
    systemd-analyze security --threshold=15 sixgate >/dev/null || fail "the exposure of sixgate.service is above 1.5"
    systemd-analyze security --threshold=12 sixgate-attach >/dev/null || fail "that of sixgate-attach.service above 1.2"

    step "the XDP program, in enforce mode"
    sed -i 's/^mode = "shadow"/mode = "enforce"/; s/^interfaces = .*/interfaces = ["lo"]/' /etc/sixgate/sixgate.toml
    systemctl restart sixgate
    wait_for_program lo
    refuses

    step "mail through"
    sixgate optin add $opted_in
    sixgate domain add contoso.com
    sixgate trust add $opted_in
    delivers

    step "an interface that a reload adds, and one that is made again"
    ip link add gate0 type veth peer name beside0
    sed -i 's/^interfaces = .*/interfaces = ["lo", "gate0"]/' /etc/sixgate/sixgate.toml
    systemctl reload sixgate
    wait_for_program gate0
    ip link delete gate0
    ip link add gate0 type veth peer name beside0
    wait_for_program gate0
    agrees

    step "members of the group read, others do not"
    useradd --groups sixgate reader
    useradd other
    runuser -u reader -- sixgate optin list | grep -q $opted_in || fail "a member of the group cannot read the store"
    runuser -u reader -- sixgate status | grep -q "^daemon     running" || fail "a member of the group cannot ask the daemon"
    for command in "optin add ::1" reload detach; do
        ! runuser -u reader -- sixgate $command || fail "a member of the group may $command"
    done
    for command in "optin list" stats reload; do
        ! runuser -u other -- sixgate $command || fail "another user may $command"
    done
    ;;
second)
    step "all is there again"
    [ "$(systemctl is-active sixgate)" = active ] || fail "the daemon does not run"
    wait_for_program lo
    refuses
    sixgate optin check $opted_in
    delivers

    step "upgrade"
    before=$(systemctl show --property MainPID sixgate)
    apt-get install --yes --no-install-recommends /proof/upgrade.deb
    [ "$(systemctl is-active sixgate)" = active ] || fail "the daemon does not run after the upgrade"
    [ "$before" != "$(systemctl show --property MainPID sixgate)" ] || fail "the upgrade did not restart the daemon"
    grep -q '^mode = "enforce"' /etc/sixgate/sixgate.toml || fail "the upgrade changed the configuration"
    sixgate optin check $opted_in
    refuses
    has_few_rights

    step "upgrade of a gate whose daemon was root"
    systemctl stop sixgate
    sixgate detach
    rm -rf /sys/fs/bpf/sixgate
    chown -R root:root /var/lib/sixgate /var/mail/sixgate
    chmod 600 /var/lib/sixgate/store.db*
    sed -i 's/^interfaces = .*/interfaces = ["lo"]/' /etc/sixgate/sixgate.toml
    sixgate attach
    systemctl start sixgate || :
    apt-get install --yes --allow-downgrades --no-install-recommends /proof/sixgate.deb
    apt-get install --yes --no-install-recommends /proof/upgrade.deb
    systemctl restart sixgate
    has_few_rights
    refuses
    delivers
    agrees

    step "the socket unit: no connection is refused during restarts"
    systemctl stop sixgate
    systemctl enable --now sixgate.socket
    systemctl start sixgate
    for _ in 1 2 3; do
        systemctl restart sixgate &
        for _ in $(seq 10); do
            case $(greeting ::1) in
            "220 gate.example "*) ;;
            *) fail "a connection during a restart was not served" ;;
            esac
        done
        wait
    done
    apt-get install --yes --allow-downgrades --no-install-recommends /proof/sixgate.deb
    [ "$(systemctl is-active sixgate.socket)" = active ] || fail "the upgrade ended the socket unit"
    refuses

    step "remove"
    apt-get remove --yes sixgate
    ! ip link show lo | grep xdp || fail "the XDP program is still attached"
    test -e /var/lib/sixgate/store.db || fail "removal took the store"
    test -e /etc/sixgate/sixgate.toml || fail "removal took the configuration"

    step "purge"
    # mail is kept: what the steps above delivered is not the package's to remove
    rm -f /var/mail/sixgate/new/*
    apt-get purge --yes sixgate
    rest=$(left)
    [ -z "$rest" ] || fail "purge left: $rest"
    # as Debian's packages do: a number that another user got later would own what is in backups
    id sixgate >/dev/null || fail "purge took the user"
    ;;
esac
step "done"
