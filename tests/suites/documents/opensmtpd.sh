# OpenSMTPD, as Debian installs it, for mail to example.com from everywhere.
printf 'opensmtp%s:x:6402%s::/var/lib/opensmtpd/empty:/usr/sbin/nologin\n' d 8:64028 q 9:64029 >> /etc/passwd
printf 'opensmtp%s:x:6402%s:\n' d 8 q 9 >> /etc/group
install -d -m 711 /var/spool/smtpd
touch /etc/aliases
sed -i -e 's/^listen on localhost/listen on 0.0.0.0\nlisten on ::/' \
    -e 's/^# match from any for domain "example.org"/match from any for domain "example.com"/' /etc/smtpd.conf
/etc/init.d/opensmtpd start > /dev/null
