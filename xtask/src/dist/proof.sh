# What an administrator does with the package, in a system that systemd has booted. The first boot:
# installation, one command to a gate that serves, the XDP program. The second: all of that is there
# again; then an upgrade, removal and purge. The first step that fails ends it.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
address=2001:db8:25::25

step() { echo "proof, $(cat /proof/boot) boot: $*"; }

fail() {
    echo "proof: FAILED: $*"
    journalctl --no-pager --unit sixgate --lines 30
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

wait_for_program() {
    for _ in $(seq 300); do
        if ip link show lo | grep -q xdp; then return; fi
        sleep 0.1
    done
    fail "no XDP program on lo"
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
ip link set lo up

case $(cat /proof/boot) in
first)
    step "apt install"
    apt-get install --yes --no-install-recommends /proof/sixgate.deb
    test -e /var/lib/sixgate/store.db || fail "no opt-in store"
    test -e /usr/share/man/man8/sixgate.8.gz || fail "no manual page"
    [ "$(systemctl is-active sixgate)" = inactive ] || fail "the daemon was started"
    [ "$(systemctl is-enabled sixgate)" = disabled ] || fail "the daemon was enabled"
    sixgate config check

    step "one command to a gate that serves"
    systemctl enable --now sixgate
    case $(greeting ::1) in
    "220 gate.example "*) ;;
    *) fail "no greeting" ;;
    esac
    sixgate status || :

    step "the XDP program, in enforce mode"
    sed -i 's/^mode = "shadow"/mode = "enforce"/; s/^interfaces = .*/interfaces = ["lo"]/' /etc/sixgate/sixgate.toml
    systemctl restart sixgate
    wait_for_program
    refuses
    sixgate optin add 2001:db8:25::26
    ;;
second)
    step "all is there again"
    [ "$(systemctl is-active sixgate)" = active ] || fail "the daemon does not run"
    wait_for_program
    refuses
    sixgate optin check 2001:db8:25::26

    step "upgrade"
    before=$(systemctl show --property MainPID sixgate)
    apt-get install --yes --no-install-recommends /proof/upgrade.deb
    [ "$(systemctl is-active sixgate)" = active ] || fail "the daemon does not run after the upgrade"
    [ "$before" != "$(systemctl show --property MainPID sixgate)" ] || fail "the upgrade did not restart the daemon"
    grep -q '^mode = "enforce"' /etc/sixgate/sixgate.toml || fail "the upgrade changed the configuration"
    sixgate optin check 2001:db8:25::26
    refuses

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
    apt-get purge --yes sixgate
    rest=$(left)
    [ -z "$rest" ] || fail "purge left: $rest"
    ;;
esac
step "done"
