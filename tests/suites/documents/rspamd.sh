# rspamd, as Debian installs it: the milter of the Postfix that was started above.
echo '_rspamd:x:64031:64031::/var/lib/rspamd:/usr/sbin/nologin' >> /etc/passwd
echo '_rspamd:x:64031:' >> /etc/group
chown _rspamd:_rspamd /var/lib/rspamd /var/log/rspamd
install -d -o _rspamd -g _rspamd /run/rspamd
rspamd -c /etc/rspamd/rspamd.conf -u _rspamd -g _rspamd
postconf -e smtpd_milters=inet:127.0.0.1:11332 milter_default_action=tempfail
postfix reload > /dev/null 2>&1
