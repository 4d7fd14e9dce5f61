# Exim, as Debian installs it for a host on the Internet, by the answers to the package's questions.
echo 'Debian-exim:x:64027:64027::/var/spool/exim4:/usr/sbin/nologin' >> /etc/passwd
echo 'Debian-exim:x:64027:' >> /etc/group
chmod 4755 /usr/sbin/exim4
install -d -o Debian-exim -g Debian-exim -m 750 /var/spool/exim4 /run/exim4
install -d -o Debian-exim -g adm -m 2750 /var/log/exim4
install -d -g mail -m 2775 /var/mail
chgrp Debian-exim /etc/exim4/passwd.client
mkdir -p /var/lib/exim4
echo mx.example.com > /etc/mailname
touch /etc/aliases
echo 'MAIN_HARDCODE_PRIMARY_HOSTNAME = mx.example.com' > /etc/exim4/exim4.conf.localmacros
cat > /etc/exim4/update-exim4.conf.conf <<'END'
dc_eximconfig_configtype='internet'
dc_other_hostnames='example.com'
dc_local_interfaces=''
dc_readhost=''
dc_relay_domains=''
dc_minimaldns='false'
dc_relay_nets=''
dc_smarthost=''
CFILEMODE='644'
dc_use_split_config='false'
dc_hide_mailname=''
dc_mailname_in_oh='true'
dc_localdelivery='mail_spool'
END
/etc/init.d/exim4 start > /dev/null
