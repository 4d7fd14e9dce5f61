# Makes this process and its children see a machine of their own with Debian's Postfix installed on
# it, then waits until its standard input ends: with it everything ends that was started inside.
# $1: a folder; $2: where Postfix is unpacked.
set -eu
folder=$1 postfix=$2
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder"
for place in usr etc var; do
    lower=/$place
    [ ! -d "$postfix/$place" ] || lower=$postfix/$place:/$place
    mkdir "$folder/$place.upper" "$folder/$place.work"
    mount -t overlay overlay -o "lowerdir=$lower,upperdir=$folder/$place.upper,workdir=$folder/$place.work" "/$place"
done
mount -t tmpfs tmpfs /run
mount -t bpf bpf /sys/fs/bpf
mount -t proc proc /proc

# what the package's installation scripts do
sed -i '/^post\(fix\|drop\):/d' /etc/passwd /etc/group
echo 'postfix:x:64025:64025::/var/spool/postfix:/usr/sbin/nologin' >> /etc/passwd
printf 'postfix:x:64025:\npostdrop:x:64026:\n' >> /etc/group
cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf
cp /usr/share/postfix/dynamicmaps.cf /etc/postfix/
# a Postfix that is installed on the test's machine has files there, of another user
rm -rf /var/spool/postfix /var/lib/postfix
cp -a "$postfix/var/spool/postfix" /var/spool/
mkdir -p /var/lib/postfix
chown postfix:postfix /var/lib/postfix
chgrp postdrop /usr/sbin/postqueue /usr/sbin/postdrop
chmod 2755 /usr/sbin/postqueue /usr/sbin/postdrop
# the mail server that was there before; what it gets, it holds
postconf -e myhostname=mx.example.com mydestination= alias_maps= mynetworks= virtual_mailbox_domains=example.com \
    virtual_mailbox_maps=static:any header_checks=static:HOLD maillog_file=/var/log/mail.log
echo 'nameserver ::1' > /etc/resolv.conf
postfix start > /dev/null 2>&1

echo ready
# a shell, since the first process of a namespace inherits orphans and has to wait for them
read -r _ || true
