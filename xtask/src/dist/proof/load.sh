# Restarts and upgrades under load, in a system that systemd has booted: `load.sh COMMAND` runs
# COMMAND, which restarts the service, while clients send mail that is accepted and mail that is
# refused. Each session has to end as if nothing had happened, and each accepted message has to be
# in the Maildir once.
#
# Needed before: the service runs in enforce mode, ::1 is trusted, contoso.com is listed, the
# destination of REFUSED (default 2001:db8:25::25) has not opted in, the next hop is the Maildir
# /var/mail/sixgate.
set -u
command=$1
refused=${REFUSED:-2001:db8:25::25}
work=$(mktemp -d)

# talk CODE COMMAND: sends COMMAND on descriptor 3; the reply has to begin with CODE
talk() {
    [ -z "$2" ] || printf '%s\r\n' "$2" >&3 || return 1
    while read -r -t 60 -u 3 line; do
        case $line in
        "$1-"*) ;;
        "$1 "*) return 0 ;;
        *) echo "instead of $1 after $2: $line"; return 1 ;;
        esac
    done
    echo "no reply after: $2"
    return 1
}

# message SUBJECT LINES PAUSE: one session with one message; PAUSE runs within DATA
message() (
    exec 3<>/dev/tcp/::1/25 || { echo "$1: no connection"; exit 1; }
    talk 220 "" && talk 250 "HELO client.example" && talk 250 "MAIL FROM:<a@client.example>" &&
        talk 250 "RCPT TO:<b@contoso.com>" && talk 354 DATA || { echo "$1: not begun"; exit 1; }
    printf 'Subject: %s\r\n\r\n' "$1" >&3
    $3
    yes "a line of some length, so that few of them are many octets" 2>/dev/null |
        head -n "$2" | sed 's/$/\r/' >&3
    printf '.\r\n' >&3
    talk 250 "" && talk 221 QUIT || { echo "$1: not accepted"; exit 1; }
)

# refusal: one session that has to be refused
refusal() (
    exec 3<>"/dev/tcp/$refused/25" || { echo "refused: no connection"; exit 1; }
    talk 220 "" && talk 250 "HELO client.example" && talk 250 "MAIL FROM:<a@client.example>" &&
        talk 550 "RCPT TO:<b@contoso.com>" && talk 221 QUIT || { echo "refused: otherwise"; exit 1; }
)

until_restarted() { while [ ! -e "$work/restarted" ]; do sleep 0.1; done; }

worker() {
    count=0
    while [ ! -e "$work/enough" ]; do
        count=$((count + 1))
        if [ "$1" = refused ]; then
            refusal && echo "refused $count" >>"$work/refused" || echo "$1 $count" >>"$work/failed"
        else
            message "load-$$-$1-$count" 30 : && echo "load-$$-$1-$count" >>"$work/sent" ||
                echo "$1 $count" >>"$work/failed"
        fi
    done
}

long() { message "$1" "$2" until_restarted && echo "$1" >>"$work/sent" || echo "$1" >>"$work/failed"; }

: >"$work/sent" >"$work/failed" >"$work/refused"
for name in 1 2 3 refused refused; do worker $name & done
long "long-$$-small" 30 &
# beyond what is kept in memory: the old daemon needs a temporary file
long "long-$$-large" 10000 &
sleep 1
before=$(date +%s%N)
$command || echo "$command ended with $?" | tee -a "$work/failed"
took=$((($(date +%s%N) - before) / 1000000))
# served by the new daemon, while the old one has sessions
message "new-$$" 1 : && echo "new-$$" >>"$work/sent" || echo "new" >>"$work/failed"
sleep 1
touch "$work/restarted"
sleep 1
touch "$work/enough"
wait
grep -rhm 1 '^Subject: ' /var/mail/sixgate/new | tr -d '\r' | sed 's/^Subject: //' >"$work/delivered"
awk 'NR == FNR { times[$0]++; next } times[$0] != 1 { print $0 " was delivered " times[$0] + 0 " times" }' \
    "$work/delivered" "$work/sent" >"$work/lost"
cat "$work/lost"
lost=$(wc -l <"$work/lost")
echo "load: $command took $took ms; $(wc -l <"$work/sent") messages accepted, $(wc -l <"$work/refused") sessions refused, \
$(wc -l <"$work/failed") failed, $lost not delivered once"
[ ! -s "$work/failed" ] && [ "$lost" = 0 ] && [ -s "$work/sent" ] && [ -s "$work/refused" ]
