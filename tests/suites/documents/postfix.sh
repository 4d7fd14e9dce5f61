# Postfix, as Debian installs it: what the package's scripts do. $1: where it is unpacked.
sed -i '/^post\(fix\|drop\):/d' /etc/passwd /etc/group
echo 'postfix:x:64025:64025::/var/spool/postfix:/usr/sbin/nologin' >> /etc/passwd
printf 'postfix:x:64025:\npostdrop:x:64026:\n' >> /etc/group
cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf
cp /usr/share/postfix/dynamicmaps.cf /etc/postfix/
# a Postfix that is installed on the test's machine has files there, of another user
rm -rf /var/spool/postfix /var/lib/postfix
cp -a "$1/var/spool/postfix" /var/spool/
mkdir -p /var/lib/postfix
chown postfix:postfix /var/lib/postfix
chgrp postdrop /usr/sbin/postqueue /usr/sbin/postdrop
chmod 2755 /usr/sbin/postqueue /usr/sbin/postdrop
# what it gets, it holds
postconf -e myhostname=mx.example.com mydestination= alias_maps= mynetworks= virtual_mailbox_domains=example.com \
    virtual_mailbox_maps=static:any header_checks=static:HOLD maillog_file=/var/log/mail.log
postfix start > /dev/null 2>&1
