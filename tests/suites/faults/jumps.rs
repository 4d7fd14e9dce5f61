//! Sessions while the time of day jumps: nothing of them is lost, cut short or drawn out.

use std::{collections::BTreeSet, time::Duration};

use nix::sys::signal::Signal;
use sixgate_tests::{
    client::Client,
    clock::{WallClock, seconds_since_1970},
    gate::{self, Need},
    settings,
    site::{GATE, Site},
    timeouts::patience,
};

use crate::{greeted, site};

pub(crate) const NEEDS: &[Need] = &[Need::Root, Need::Faketime];
pub(crate) const YEAR: i64 = 365 * 24 * 60 * 60;

/// Where the clock jumps to, in seconds from the right time, and about which year the log shows
/// then.
pub(crate) fn jumps() -> [(&'static str, i64, i64); 5] {
    let now = seconds_since_1970();
    let year = |offset: i64| 1970 + (now + offset) * 4 / (4 * YEAR + YEAR / 365);
    let jump = |name, offset| (name, offset, year(offset));
    [
        jump("ten years ahead", 10 * YEAR),
        jump("ten years back", -10 * YEAR),
        jump("to 1970", -now),
        jump("beyond 32 bits", 100 * YEAR),
        jump("a night's sleep", 8 * 60 * 60),
    ]
}

/// When it jumps; at the next of these moments it jumps back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Moment {
    Greeted,
    Hello,
    Mail,
    /// RCPT was sent, and DNS has not answered about the sender.
    WaitingForPtr,
    Rcpt,
    Data,
    /// Within a line of the message.
    Message,
    /// The message has ended, and DNS has not answered about its signature.
    WaitingForVerification,
    Over,
}

const MOMENTS: [Moment; 9] = [
    Moment::Greeted,
    Moment::Hello,
    Moment::Mail,
    Moment::WaitingForPtr,
    Moment::Rcpt,
    Moment::Data,
    Moment::Message,
    Moment::WaitingForVerification,
    Moment::Over,
];

#[test]
fn a_message_is_delivered_once_whenever_the_clock_jumps_and_back() {
    if !gate::require(NEEDS) {
        return;
    }
    let clock = WallClock::new().unwrap();
    let senders = jumps().len() * MOMENTS.len();
    let zone: String = (0..senders).map(|number| Sender(number).zone()).collect();
    let site = site(&zone, "dns = { timeout = \"15s\", attempts = 1 }");
    let daemon = site.serve_by(&clock, &["--no-xdp"]);
    let mut wanted = BTreeSet::new();
    for (at, (jump, offset, _)) in jumps().into_iter().enumerate() {
        for (moment, jumping) in MOMENTS.into_iter().enumerate() {
            let sender = Sender(at * MOMENTS.len() + moment);
            converse(&site, sender, |now| {
                clock.jump(if now == jumping { offset } else { 0 }).unwrap();
            });
            wanted.insert(format!("Subject: {}\r\n", sender.0));
            // the next one begins at the right time again
            clock.jump(0).unwrap();
            assert_eq!(site.delivered().len(), wanted.len(), "{jump}, {jumping:?}");
        }
    }
    let delivered = site.delivered();
    let subjects = delivered.iter().map(|message| {
        let start = message.find("Subject: ").expect("a subject");
        message[start..].split_inclusive('\n').next().expect("a line").to_owned()
    });
    assert_eq!(subjects.collect::<BTreeSet<_>>(), wanted);
    let (_, log) = daemon.stop().unwrap();
    assert!(!log.contains("panicked"), "{log}");
    for (jump, _, year) in jumps() {
        let shown = |line: &str| line.split('-').next().and_then(|text| text.parse::<i64>().ok());
        // at the end of a year it may be the next one
        assert!(
            log.lines().filter_map(shown).any(|shown| shown.abs_diff(year) <= 1),
            "{jump}: the log of the daemon never shows the year {year}\n{log}"
        );
    }
}

/// A sender that DNS was not asked about before.
#[derive(Clone, Copy)]
struct Sender(usize);

impl Sender {
    fn address(self) -> String {
        format!("2001:db8:51::{:x}", 0x1000 + self.0)
    }

    fn domain(self) -> String {
        format!("s{}.example", self.0)
    }

    fn zone(self) -> String {
        let (address, domain) = (self.address(), self.domain());
        format!(
            "{address} PTR mail.{domain}\nmail.{domain} AAAA {address}\n{domain} TXT \"v=spf1 ip6:{address} -all\"\n"
        )
    }
}

/// A whole session that delivers a message; `reached` is called at each moment in it.
fn converse(site: &Site, sender: Sender, mut reached: impl FnMut(Moment)) {
    let pointers = site.dns.hold("PTR");
    let mut client = site.connect(&sender.address(), GATE);
    assert_eq!(client.reply().unwrap().code, 220);
    reached(Moment::Greeted);
    assert_eq!(client.say("EHLO mail.sender.example").unwrap().code, 250);
    reached(Moment::Hello);
    let texts = site.dns.hold("TXT");
    let domain = sender.domain();
    assert_eq!(client.say(&format!("MAIL FROM:<a@{domain}>")).unwrap().code, 250);
    reached(Moment::Mail);
    client.send("RCPT TO:<user@contoso.com>").unwrap();
    pointers.wait_for_question(&sender.address());
    reached(Moment::WaitingForPtr);
    drop(pointers);
    assert_eq!(client.reply().unwrap().last(), "250 2.1.5 Recipient ok", "{}", client.transcript());
    reached(Moment::Rcpt);
    assert_eq!(client.say("DATA").unwrap().code, 354);
    reached(Moment::Data);
    client.write(format!("Subject: {}\r\nX: half a", sender.0).as_bytes()).unwrap();
    reached(Moment::Message);
    client.write(b" line\r\n\r\n.\r\n").unwrap();
    texts.wait_for_question(&domain);
    reached(Moment::WaitingForVerification);
    drop(texts);
    let reply = client.reply().unwrap();
    assert!(reply.last().starts_with("250 2.0.0 Delivered as "), "{}", client.transcript());
    reached(Moment::Over);
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
}

#[test]
fn a_silent_client_gets_a_reply_in_time_wherever_the_clock_jumps() {
    if !gate::require(NEEDS) {
        return;
    }
    let clock = WallClock::new().unwrap();
    let limits = "limits = { command_timeout = \"2s\", data_timeout = \"2s\", session_timeout = \"1m\" }";
    let site = site(&Sender(0).zone(), &format!("{limits}\n{}", settings::silent_dns()));
    let daemon = site.serve_by(&clock, &["--no-xdp"]);
    for (number, (jump, offset, _)) in jumps().into_iter().enumerate() {
        // each begins only when the one before it has ended: its time is short
        let begin = |lines: &[&str]| {
            let mut client = greeted(&site, &Sender(0).address());
            for line in lines {
                assert!(client.say(line).unwrap().code < 400, "{}", client.transcript());
            }
            client
        };
        let mail = "MAIL FROM:<a@s0.example>";
        let (at_command, at_rcpt) = (begin(&[]), begin(&[mail]));
        let in_message = begin(&[mail, "RCPT TO:<user@contoso.com>", "DATA"]);
        let pointers = site.dns.hold("PTR");
        let mut unknown = greeted(&site, &format!("2001:db8:51::{}", number + 1));
        assert_eq!(unknown.say("MAIL FROM:<a@s0.example>").unwrap().code, 250);
        unknown.send("RCPT TO:<user@contoso.com>").unwrap();
        clock.jump(offset).unwrap();
        let heard = unknown.reply().unwrap();
        assert_eq!(heard.last(), "451 4.4.3 Temporary DNS failure, please try again later.", "{jump}");
        drop(pointers);
        for mut client in [at_command, at_rcpt, in_message] {
            let heard = client.reply().unwrap();
            assert_eq!(heard.last(), "421 4.4.2 gate.example Time-out waiting for input", "{jump}");
            client.closed().unwrap();
        }
        clock.jump(0).unwrap();
    }
    assert!(site.delivered().is_empty());
    daemon.stop().unwrap();
}

/// As when a host sleeps or a virtual machine is paused: nothing runs, and the time of day is
/// another one afterwards.
#[test]
fn a_host_that_was_stopped_ends_overdue_sessions_and_serves_others() {
    if !gate::require(NEEDS) {
        return;
    }
    let clock = WallClock::new().unwrap();
    let site = site(&Sender(0).zone(), "limits = { command_timeout = \"3s\", data_timeout = \"3s\" }");
    let daemon = site.serve_by(&clock, &["--no-xdp"]);
    let begin = || greeted(&site, &Sender(0).address());
    let (mut idle, mut sending) = (begin(), begin());
    for line in ["MAIL FROM:<a@s0.example>", "RCPT TO:<user@contoso.com>", "DATA"] {
        assert!(sending.say(line).unwrap().code < 400, "{}", sending.transcript());
    }
    daemon.signal(Signal::SIGSTOP).unwrap();
    clock.jump(8 * 60 * 60).unwrap();
    sending.write(b"Subject: a\r\n\r\nb\r\n.\r\n").unwrap();
    // longer than it may be silent
    idle.wait_at_most(Duration::from_secs(4)).unwrap();
    assert!(idle.reply().is_err(), "it stands still");
    let mut queued = site.connect(&Sender(0).address(), GATE);
    daemon.signal(Signal::SIGCONT).unwrap();
    idle.wait_at_most(patience()).unwrap();
    assert_eq!(idle.reply().unwrap().last(), "421 4.4.2 gate.example Time-out waiting for input");
    // input and the end of its time are there at once: either is right, and the reply is true
    let heard = sending.reply().unwrap();
    assert!([250, 421].contains(&heard.code), "{heard:?}");
    assert_eq!(site.delivered().len(), usize::from(heard.code == 250));
    assert_eq!(queued.reply().unwrap().code, 220, "who came meanwhile was not lost");
    deliver(&mut begin());
    drop((idle, sending, queued));
    assert!(daemon.stop().unwrap().0.success());
}

#[test]
fn names_stay_unique_and_the_date_right_when_the_clock_stops_or_goes_back() {
    if !gate::require(NEEDS) {
        return;
    }
    let clock = WallClock::new().unwrap();
    let site = site(&Sender(0).zone(), "");
    let daemon = site.serve_by(&clock, &["--no-xdp"]);
    let mut names = BTreeSet::new();
    let dates = [
        ("2031-02-03 04:05:06", "Mon, 3 Feb 2031 04:05:06 +0000"),
        ("2001-12-31 23:59:59", "Mon, 31 Dec 2001 23:59:59 +0000"),
        ("1970-01-01 00:00:00", "Thu, 1 Jan 1970 00:00:00 +0000"),
        ("2031-02-03 04:05:06", "Mon, 3 Feb 2031 04:05:06 +0000"),
    ];
    for (time, date) in dates {
        clock.stop_at(time).unwrap();
        for _ in 0..3 {
            let name = deliver(&mut greeted(&site, &Sender(0).address()));
            assert!(names.insert(name.clone()), "{name} comes again");
            let message = site.file(&name);
            let received = message.split_once("Received: from ").expect("a Received field").1;
            let (_, rest) = received.split_once(" id ").expect("a session's name");
            let id = rest.split_whitespace().next().expect("a session's name");
            assert!(names.insert(id.to_owned()), "{id} comes again");
            assert!(received.contains(&format!(";\r\n\t{date}\r\n")), "{date}: {received}");
        }
    }
    assert_eq!((site.delivered().len(), names.len()), (12, 24));
    daemon.stop().unwrap();
}

#[test]
fn the_daemon_starts_at_any_time_and_loses_no_mail_by_its_clock() {
    if !gate::require(NEEDS) {
        return;
    }
    let clock = WallClock::new().unwrap();
    let site = site(&Sender(0).zone(), "");
    for (number, (jump, offset, _)) in jumps().into_iter().enumerate() {
        clock.jump(offset).unwrap();
        let daemon = site.serve_by(&clock, &["--no-xdp"]);
        deliver(&mut greeted(&site, &Sender(0).address()));
        let (status, log) = daemon.stop().unwrap();
        assert!(status.success() && !log.contains("panicked"), "{jump}: {log}");
        assert_eq!(site.delivered().len(), number + 1, "{jump}");
    }
}

/// Delivers a message of s0.example; the name of its file.
fn deliver(client: &mut Client) -> String {
    for line in ["MAIL FROM:<a@s0.example>", "RCPT TO:<user@contoso.com>", "DATA"] {
        assert!(client.say(line).unwrap().code < 400, "{}", client.transcript());
    }
    let reply = client.message("Subject: a\n\nb\n").unwrap();
    let name = reply.unnamed().strip_prefix("250 2.0.0 Delivered as ");
    name.unwrap_or_else(|| panic!("{reply:?}")).to_owned()
}
