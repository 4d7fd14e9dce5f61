# What an administrator does with the .deb, in a system that systemd has booted. The first boot:
# installation, `sixgate init` and a gate that serves, the XDP program, mail, the rights of daemon
# and group. The second: all of that is there again; then restarts and upgrades under load, the
# upgrade of a gate whose daemon was root, removal and purge. The first step that fails ends it.
. /proof/common.sh

install="apt-get install --yes --no-install-recommends"
case $(cat /proof/boot) in
first)
    step "apt install"
    $install /proof/sixgate.deb
    test -e /var/lib/sixgate/store.db || fail "no opt-in store"
    test -e /usr/share/man/man8/sixgate.8.gz || fail "no manual page"
    [ "$(systemctl is-active sixgate)" = inactive ] || fail "the daemon was started"
    [ "$(systemctl is-enabled sixgate)" = disabled ] || fail "the daemon was enabled"
    [ "$(stat -c '%U %G %a' /var/lib/sixgate/store.db)" = "sixgate sixgate 640" ] || fail "the store is not of user sixgate"
    sixgate config check
    serves_packaged

    step "sixgate init, and a gate that serves"
    start_with_init
    sixgate status || :
    has_few_rights
    exposure sixgate 15
    exposure sixgate-attach 12

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
    reads_as_member
    ;;
second)
    step "all is there again"
    [ "$(systemctl is-active sixgate)" = active ] || fail "the daemon does not run"
    wait_for_program lo
    refuses
    sixgate optin check $opted_in
    delivers

    step "restart and upgrade under load"
    # the clients of ::1 need no reverse DNS, which is not here
    sixgate trust add ::1
    under_load "systemctl restart sixgate"
    under_load "$install /proof/upgrade.deb"
    grep -q '^mode = "enforce"' /etc/sixgate/sixgate.toml || fail "the upgrade changed the configuration"
    sixgate optin check $opted_in

    step "restart, step back and upgrade under load, with the socket unit"
    use_socket_unit
    keeps_nonblocking
    for _ in 1 2 3; do under_load "systemctl restart sixgate"; done
    under_load "$install --allow-downgrades /proof/sixgate.deb"
    under_load "$install /proof/upgrade.deb"
    [ "$(systemctl is-active sixgate.socket)" = active ] || fail "the upgrade ended the socket unit"
    systemctl stop sixgate
    systemctl disable --now sixgate.socket
    systemctl start sixgate

    step "upgrade of a gate whose daemon was root"
    systemctl stop sixgate
    sixgate detach
    rm -rf /sys/fs/bpf/sixgate
    chown -R root:root /var/lib/sixgate /var/mail/sixgate
    chmod 600 /var/lib/sixgate/store.db*
    sed -i 's/^interfaces = .*/interfaces = ["lo"]/' /etc/sixgate/sixgate.toml
    sixgate attach
    systemctl start sixgate || :
    $install --allow-downgrades /proof/sixgate.deb
    $install /proof/upgrade.deb
    systemctl restart sixgate
    has_few_rights
    refuses
    delivers
    agrees

    step "remove"
    apt-get remove --yes sixgate
    ! ip link show lo | grep xdp || fail "the XDP program is still attached"
    test -e /var/lib/sixgate/store.db || fail "removal took the store"
    test -e /etc/sixgate/sixgate.toml || fail "removal took the configuration"

    step "purge"
    # mail is kept: what the steps above delivered is not the package's to remove
    find /var/mail/sixgate/new -type f -delete
    apt-get purge --yes sixgate
    rest=$(left)
    [ -z "$rest" ] && ! dpkg-query --show sixgate 2>/dev/null || fail "purge left: $rest"
    # as Debian's packages do: a number that another user got later would own what is in backups
    id sixgate >/dev/null || fail "purge took the user"
    ;;
esac
step "done"
