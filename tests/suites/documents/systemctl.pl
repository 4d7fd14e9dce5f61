#!/usr/bin/perl
# Stands in for systemctl(1) and journalctl(1) where no systemd runs: does with sixgate.service what its file says.
# It knows Type=notify, and nothing of the sandbox, which systemd-analyze(1) checks.
use strict;
use warnings;
use IO::Socket::UNIX;

my ($UNIT, $PID, $LOG) = ('/etc/systemd/system/sixgate.service', '/run/sixgate.test.pid', '/var/log/sixgate.test.log');

sub values_of {
    my ($key) = @_;
    open my $unit, '<', $UNIT or die "$UNIT: $!\n";
    return map { /^\Q$key\E=(.*)$/ ? $1 : () } <$unit>;
}

sub run_all {
    for my $command (values_of($_[0])) {
        $command =~ s/\$MAINPID/pid()/e;
        system('/bin/sh', '-c', $command) == 0 or die "$_[0]=$command failed\n";
    }
}

sub pid {
    open my $file, '<', $PID or return 0;
    my $pid = <$file>;
    return kill(0, $pid) ? $pid : 0;
}

sub start {
    return if pid();
    for (['RuntimeDirectory', '/run'], ['StateDirectory', '/var/lib']) {
        my ($key, $above) = @$_;
        my ($mode) = (values_of("${key}Mode"), '0755');
        for my $name (map { split } values_of($key)) {
            -d "$above/$name" or mkdir "$above/$name" or die "$above/$name: $!\n";
            chmod oct($mode), "$above/$name";
        }
    }
    run_all('ExecStartPre');
    unlink '/run/notify.test';
    my $notify = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => '/run/notify.test') or die "notify: $!\n";
    my ($command) = values_of('ExecStart');
    my $pid = fork // die "fork: $!\n";
    if (!$pid) {
        setpgrp;
        $ENV{NOTIFY_SOCKET} = '/run/notify.test';
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $LOG;
        open STDERR, '>>', $LOG;
        exec split ' ', $command;
    }
    open my $file, '>', $PID or die "$PID: $!\n";
    print $file $pid;
    close $file;
    my $ready = '';
    while ($ready !~ /^READY=1$/m) {
        local $SIG{ALRM} = sub { kill 0, $pid or die "sixgate ended at its start; see $LOG\n"; alarm 1 };
        alarm 1;
        defined $notify->recv($ready, 4096) or next;
    }
    alarm 0;
}

sub stop {
    my $pid = pid() or return;
    kill 'TERM', $pid;
    # it is no child of ours: a pidfd would do, and perl has none
    select undef, undef, undef, 0.05 while kill 0, $pid;
}

# What the unit of a mail server does: that of Exim is made from its script by systemd.
sub restart_server {
    my ($name) = @_;
    exec "/etc/init.d/$name restart > /dev/null" if $name eq 'exim4';
    system 'pkill -x smtpd; while pgrep -x smtpd > /dev/null; do sleep 0.05; done';
    exec '/usr/sbin/smtpd';
}

my ($verb, @words) = @ARGV;
if ($0 =~ /journalctl$/) {
    my ($pattern) = map { $ARGV[$_] eq '--grep' ? $ARGV[$_ + 1] : () } 0 .. $#ARGV;
    open my $log, '<', $LOG or die "$LOG: $!\n";
    while (<$log>) { print if !defined $pattern or /$pattern/ }
    exit 0;
}
restart_server($words[0]) if $verb eq 'restart' and @words and $words[0] =~ /^(exim4|opensmtpd)$/;
my $now = grep { $_ eq '--now' } @words;
die "unit not known: @words\n" if $verb ne 'daemon-reload' and !grep { /^sixgate(\.service)?$/ } @words;
if ($verb eq 'daemon-reload') { values_of('ExecStart') }
elsif ($verb eq 'enable') { values_of('WantedBy') or die "no WantedBy= in $UNIT\n"; start() if $now }
elsif ($verb eq 'disable') { stop() if $now }
elsif ($verb eq 'start') { start() }
elsif ($verb eq 'stop') { stop() }
elsif ($verb eq 'restart') { stop(); start() }
elsif ($verb eq 'reload') { run_all('ExecReload') }
else { die "verb not known: $verb\n" }
