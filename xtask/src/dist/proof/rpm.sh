# What an administrator does with the .rpm, in a system that systemd has booted. It is Debian, whose
# rpm has no packages that ours could depend on: the scripts and files are tried, not a
# distribution's package manager. The first step that fails ends it.
. /proof/common.sh

rpm="rpm --force-debian --nodeps"
step "rpm --install"
$rpm --install /proof/sixgate.rpm
$rpm --verify sixgate || fail "files are not as packaged"
test -e /var/lib/sixgate/store.db || fail "no opt-in store"
test -e /usr/share/man/man8/sixgate.8* || fail "no manual page"
[ "$(systemctl is-active sixgate)" = inactive ] || fail "the daemon was started"
[ "$(systemctl is-enabled sixgate)" = disabled ] || fail "the daemon was enabled"
[ "$(stat -c '%U %G %a' /var/lib/sixgate/store.db)" = "sixgate sixgate 640" ] || fail "the store is not of user sixgate"
serves_packaged

step "sixgate init, and a gate that serves"
start_with_init
has_few_rights
agrees

step "members of the group read, others do not"
reads_as_member

step "upgrade under load"
sixgate trust add ::1
under_load "$rpm --upgrade /proof/upgrade.rpm"
grep -q '^mode = "enforce"' /etc/sixgate/sixgate.toml || fail "the upgrade changed the configuration"
sixgate optin check $opted_in
under_load "$rpm --upgrade --oldpackage /proof/sixgate.rpm"

step "rpm --erase"
$rpm --erase sixgate
! ip link show lo | grep xdp || fail "the XDP program is still attached"
test -e /var/lib/sixgate/store.db || fail "removal took the store"
test -e /etc/sixgate/sixgate.toml.rpmsave || fail "removal took the configuration"
rest=$(left | grep -v -e ^/var/lib/sixgate -e ^/var/mail/sixgate -e ^/etc/sixgate -e ^/run/sixgate -e ^/sys/fs/bpf/sixgate || :)
[ -z "$rest" ] || fail "removal left: $rest"
step "done"
