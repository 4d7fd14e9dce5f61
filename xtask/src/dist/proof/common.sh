# Shared by the proofs of all packages: sessions, and checks of a gate that serves.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
address=2001:db8:25::25
opted_in=2001:db8:25::26

ip -6 address add $address/128 dev lo
ip -6 address add $opted_in/128 dev lo
ip link set lo up

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

# has_few_rights: the process that systemd watches, and the daemon, its child
has_few_rights() {
    main=$(systemctl show --value --property MainPID sixgate)
    daemons=$(ps -o pid= --ppid "$main")
    [ -n "$daemons" ] || fail "process $main has no daemon"
    for process in $main $daemons; do
        [ "$(ps -o user= -p "$process")" = sixgate ] || fail "process $process is not of user sixgate"
        rights=$(sed -n 's/^CapEff:[[:space:]]*//p' "/proc/$process/status")
        # CAP_NET_BIND_SERVICE, CAP_BPF
        [ "$rights" = 0000008000000400 ] || fail "process $process has capabilities $rights"
    done
    sixgate status | grep -q "^sandbox    files by Landlock, system calls by seccomp$" || fail "the daemon has no sandbox"
}

refuses() {
    reply=$(recipient $address)
    case $reply in
    "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6."*) ;;
    *) fail "a destination that has not opted in got: $reply" ;;
    esac
}

# start_with_init: one command that makes the configuration, one that starts
start_with_init() {
    sixgate init --next-hop maildir:/var/mail/sixgate --hostname gate.example --iface lo \
        --mode enforce --domain contoso.com --optin $opted_in
    [ "$(sixgate init --next-hop maildir:/var/mail/sixgate --hostname gate.example --iface lo \
        --mode enforce | grep -c unchanged)" = 1 ] || fail "a second init does not say that nothing changed"
    systemctl enable --now sixgate
    wait_for_program lo
    refuses
    sixgate trust add $opted_in
    delivers
}

# serves_packaged: the configuration of the package starts as it is
serves_packaged() {
    systemctl start sixgate
    case $(greeting ::1) in
    "220 gate.example "*) ;;
    *) fail "no greeting" ;;
    esac
    has_few_rights
    systemctl stop sixgate
}

# reads_as_member: members of the group read, others do not
reads_as_member() {
    useradd --groups sixgate reader
    useradd other
    runuser -u reader -- sixgate optin list | grep -q $opted_in || fail "a member of the group cannot read the store"
    runuser -u reader -- sixgate status | grep -q "^daemon     running" || fail "a member of the group cannot ask the daemon"
    for command in stats flows "ptr list" "store log"; do
        runuser -u reader -- sixgate $command >/dev/null || fail "a member of the group cannot run $command"
    done
    for command in "optin add ::1" reload detach; do
        ! runuser -u reader -- sixgate $command || fail "a member of the group may $command"
    done
    for command in "optin list" stats reload; do
        ! runuser -u other -- sixgate $command || fail "another user may $command"
    done
}

# exposure UNIT MOST: what systemd-analyze finds, in tenths
exposure() {
    systemd-analyze security --no-pager --threshold="$2" "$1" | tail -n 1 || fail "the exposure of $1 is above $2 tenths"
}

# under_load COMMAND: a command that restarts the daemon, which no client may notice
under_load() {
    before=$(systemctl show --value --property MainPID sixgate)
    bash /proof/load.sh "$1" || fail "under load: $1"
    [ "$(systemctl is-active sixgate)" = active ] || fail "the daemon does not run after: $1"
    [ "$before" != "$(systemctl show --value --property MainPID sixgate)" ] || fail "not restarted by: $1"
    has_few_rights
    refuses
}

use_socket_unit() {
    systemctl stop sixgate
    systemctl enable --now sixgate.socket
    systemctl start sixgate
}

# keeps_nonblocking: the listening socket stays non-blocking at a restart, for the daemon that still
# serves: the daemon's descriptor is looked at until that daemon has ended
keeps_nonblocking() {
    daemon=$(ps -o pid= --ppid "$(systemctl show --value --property MainPID sixgate)" | tr -d ' ')
    # port 25, LISTEN
    inode=$(awk '$2 ~ /:0019$/ && $4 == "0A" { print $10; exit }' /proc/net/tcp6)
    descriptor=$(find "/proc/$daemon/fd" -lname "socket:\[$inode\]" -printf '%f\n' -quit)
    [ -n "$descriptor" ] || fail "process $daemon does not have the listening socket"
    systemctl restart sixgate &
    while flags=$(sed -n 's/^flags:[[:space:]]*//p' "/proc/$daemon/fdinfo/$descriptor" 2>/dev/null) && [ -n "$flags" ]; do
        # O_NONBLOCK
        [ $((0$flags & 04000)) != 0 ] || fail "the listening socket was a blocking one"
    done
    wait
}

# left: what is there of the package, beside the package managers' own records
left() {
    find / -xdev \( -path /proof -o -path /proc -o -path /sys -o -path /var/log -o -path /var/lib/dpkg \
        -o -path /var/lib/rpm -o -path /var/cache -o -path /tmp \) -prune -o -name '*sixgate*' -print
    ls -d /sys/fs/bpf/sixgate /run/sixgate /run/systemd/units/*sixgate* 2>/dev/null || :
}
