//! A next hop that is dead, dies or lies: the reply that the sender gets then, at each step; and no
//! output that is not a reply is ever taken for one.
//!
//! Slow next hops are in `times`.

use std::{fs, net::SocketAddr, os::unix::net::UnixListener};

use sixgate::nexthop::{Address, ClientIdentity, Protocol};
use tokio::net::TcpListener;

use crate::{
    Case, LMTP, LOST, Row, SMTP, Session, Socket, UNAVAILABLE, UNEXPECTED, WAYS, Way, XCLIENT, behind,
    next_hop,
    peer::{Peer, unix},
    play_by,
};

const RCPT: &str = "RCPT TO:<b@d.example>";
const ACCEPTED: (&str, &str) = (RCPT, "250 2.1.5 Ok\r\n");
const QUEUED: (&str, &str) = ("DATA", "250 2.0.0 queued\r\n");
/// A whole connection without a fault.
const WHOLE: &str = "OPEN\nMAIL\nRCPT\nDATA\nQUIT";

/// One exchange of a connection: the command that the next hop expects, and its reply to it.
struct Exchange {
    step: Step,
    expects: &'static str,
    says: &'static str,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// Greeting, EHLO or LHLO, XCLIENT.
    Opening,
    Mail,
    Rcpt,
    Data,
    FinalDot,
}

const fn exchange(step: Step, expects: &'static str, says: &'static str) -> Exchange {
    Exchange { step, expects, says }
}

const GREETING: Exchange = exchange(Step::Opening, "HEADER", "220 mx.example ESMTP\r\n");
const HELLO: Exchange =
    exchange(Step::Opening, "HELLO", "250-mx.example\r\n250-XCLIENT NAME ADDR HELO\r\n250 8BITMIME\r\n");
const TOLD: [Exchange; 2] = [
    exchange(
        Step::Opening,
        "C: XCLIENT HELO=helo.sender.example NAME=mail.sender.example ADDR=IPV6:2001:db8::1",
        "220 mx.example ESMTP\r\n",
    ),
    exchange(Step::Opening, "C: EHLO helo.sender.example", "250-mx.example\r\n250 8BITMIME\r\n"),
];
const TRANSACTION: [Exchange; 4] = [
    exchange(Step::Mail, "C: MAIL FROM:<a@sender.example>", "250 2.1.0 Ok\r\n"),
    exchange(Step::Rcpt, "C: RCPT TO:<b@d.example>", "250 2.1.5 Ok\r\n"),
    exchange(Step::Data, "C: DATA", "354 go\r\n"),
    exchange(Step::FinalDot, "MESSAGE", "250 2.0.0 queued\r\n"),
];

/// A whole transaction on a new connection.
fn exchanges(way: Way) -> Vec<Exchange> {
    let told = (way.client == ClientIdentity::Xclient).then_some(TOLD);
    [GREETING, HELLO].into_iter().chain(told.into_iter().flatten()).chain(TRANSACTION).collect()
}

/// A connection without a fault, by any way.
fn whole(exchanges: &[Exchange]) -> String {
    let lines = exchanges.iter().map(|exchange| format!("{}\n{}\n", exchange.expects, said(exchange.says)));
    lines.collect::<String>() + "QUIT"
}

fn said(octets: &str) -> String {
    format!("S! {}", octets.escape_default())
}

/// Makes another reply of a good one.
type Spoil = fn(&str) -> String;

/// The reply that the sender gets after a fault.
#[derive(Clone, Copy, Debug)]
enum Heard {
    /// This is the answer at the step of the fault.
    Answer(&'static str),
    /// The fault costs a connection and nothing more: the transaction is done on another one.
    Nothing,
}

/// Lets the reply of each exchange be another one, which `fault` makes of it: the rest of the
/// script from there, and the reply that the sender gets.
async fn spoil(claim: &str, ways: &[Way], fault: impl Fn(Way, &Exchange) -> Option<(String, Heard)>) {
    for way in ways {
        let exchanges = exchanges(*way);
        for (at, spoilt) in exchanges.iter().enumerate() {
            let Some((tail, heard)) = fault(*way, spoilt) else { continue };
            let before =
                exchanges[..at].iter().map(|done| format!("{}\n{}\n", done.expects, said(done.says)));
            let script = format!("{}{}\n{tail}", before.collect::<String>(), spoilt.expects);
            let again = whole(&exchanges);
            let claim = format!("{claim}: {}", spoilt.expects);
            let (scripts, session) = match (heard, spoilt.step) {
                (Heard::Answer(answer), Step::Opening | Step::Mail | Step::Rcpt) => {
                    (vec![script.as_str()], vec![(RCPT, answer)])
                }
                (Heard::Answer(answer), Step::Data | Step::FinalDot) => {
                    (vec![script.as_str()], vec![ACCEPTED, ("DATA", answer)])
                }
                (Heard::Nothing, Step::FinalDot) => {
                    (vec![script.as_str(), &again], vec![ACCEPTED, QUEUED, ACCEPTED, QUEUED])
                }
                (Heard::Nothing, _) => (vec![script.as_str(), &again], vec![ACCEPTED, QUEUED]),
            };
            Case { claim: &claim, way: *way, scripts: &scripts, session: &session }.play().await;
        }
    }
}

fn all_ways() -> Vec<Way> {
    let lmtp = Way { socket: Socket::Unix, client: ClientIdentity::Xclient, ..LMTP };
    WAYS.into_iter().chain([XCLIENT, lmtp]).collect()
}

/// The answer where a next hop is lost at `step`, unless another connection helps.
fn lost(step: Step) -> Heard {
    match step {
        Step::Opening => Heard::Answer(UNAVAILABLE),
        Step::Mail | Step::Rcpt | Step::FinalDot => Heard::Answer(LOST),
        Step::Data => Heard::Nothing,
    }
}

/// The answer where a next hop sends a reply that cannot be understood.
fn not_understood(step: Step) -> Heard {
    if step == Step::Opening { Heard::Answer(UNAVAILABLE) } else { Heard::Answer(UNEXPECTED) }
}

#[tokio::test]
async fn a_reply_that_ends_early_is_no_reply() {
    let longest = HELLO.says.len();
    for (end, ways) in [("", all_ways()), ("RESET", vec![SMTP])] {
        for cut in 0..longest {
            spoil(&format!("cut at {cut}, {end}"), &ways, |_, exchange| {
                let part = exchange.says.get(..cut).filter(|part| part.len() < exchange.says.len())?;
                Some((format!("{}\n{end}", said(part)), lost(exchange.step)))
            })
            .await;
        }
    }
}

#[tokio::test]
async fn what_is_no_reply_is_not_taken_for_one() {
    let rows: [(&str, Spoil); 9] = [
        ("words", |_| "so be it\r\n".into()),
        ("nothing", |_| "\r\n".into()),
        ("no digit", |says| format!("{}x{}", &says[..2], &says[3..])),
        ("a code that is too low", |says| format!("1{}", &says[1..])),
        ("a code that is too high", |says| format!("6{}", &says[1..])),
        ("four digits", |says| format!("2{says}")),
        ("a bare LF", |says| says.replace("\r\n", "\n")),
        ("a code that changes", |says| format!("{}-a\r\n299 b\r\n", &says[..3])),
        ("another protocol", |_| "HTTP/1.1 200 OK\r\n".into()),
    ];
    for (claim, reply) in rows {
        spoil(claim, &all_ways(), |_, exchange| {
            Some((said(&reply(exchange.says)) + "\nEOF-ANY", not_understood(exchange.step)))
        })
        .await;
    }
}

#[tokio::test]
async fn a_reply_without_meaning_at_its_step_is_not_obeyed() {
    // A go-ahead where nothing is to be sent, and success where a message was to begin.
    for (code, spared) in [("354", Some(Step::Data)), ("334", None), ("250", None)] {
        spoil(code, &all_ways(), |_, exchange| {
            let meant = spared == Some(exchange.step) || exchange.says.starts_with(code);
            let passes =
                code == "250" && (exchange.step != Step::Data && !exchange.expects.contains("XCLIENT"));
            let reply = said(&format!("{code} well\r\n"));
            (!meant && !passes).then(|| (reply + "\nEOF-ANY", not_understood(exchange.step)))
        })
        .await;
    }
}

#[tokio::test]
async fn a_long_reply_counts_by_its_code() {
    let rows: [(&str, Spoil); 3] = [
        ("a line of a megabyte", |says| format!("{} {}\r\n", &says[..3], "x".repeat(1_000_000))),
        ("lines of 100 KB", |says| {
            let line = format!("{}-{}\r\n", &says[..3], "x".repeat(100_000));
            line.repeat(9) + &says[..3] + "\r\n"
        }),
        ("10,000 lines", |says| format!("{}-x\r\n", &says[..3]).repeat(10_000) + says),
    ];
    for (claim, reply) in &rows {
        for way in WAYS {
            let long = |says| said(&reply(says));
            let script = format!(
                "HEADER\n{}\nHELLO\n{}\nC: MAIL FROM:<a@sender.example>\n{}\nC: {RCPT}\n{}\nC: DATA\n{}\nMESSAGE\n{}\n\
                 MAIL\nRCPT\nQUIT",
                long("220 mx.example ESMTP\r\n"),
                long("250 mx.example ESMTP\r\n"),
                long("250 2.1.0 mail is ok\r\n"),
                long("250 2.1.5 rcpt is ok\r\n"),
                long("354 now go ahead ok\r\n"),
                long("250 2.0.0 it is queued\r\n"),
            );
            let session = [(RCPT, "250"), ("DATA", "250"), ACCEPTED];
            Case { claim, way, scripts: &[&script], session: &session }.play().await;
        }
    }
}

#[tokio::test]
async fn a_reply_without_end_counts_by_its_code_and_ends_the_connection() {
    for separator in [" ", "-"] {
        spoil("it never ends", &all_ways(), |way, exchange| {
            let introduces = way.client == ClientIdentity::Xclient;
            let heard = match exchange.step {
                // the reply was received, and the rest could not be
                Step::Opening if exchange.expects.contains("EHLO") => Heard::Answer(LOST),
                Step::Opening if exchange.expects == "HELLO" && !introduces => Heard::Answer(LOST),
                Step::Opening => Heard::Answer(UNAVAILABLE),
                Step::Mail => Heard::Answer(LOST),
                Step::Data => Heard::Answer(UNEXPECTED),
                Step::Rcpt | Step::FinalDot => return None,
            };
            Some((format!("FLOOD {}{separator}", &exchange.says[..3]), heard))
        })
        .await;
    }
    for way in WAYS {
        let at_rcpt = format!("OPEN\nMAIL\nC: {RCPT}\nFLOOD 250 2.1.5 ");
        let session = [(RCPT, "250 2.1.5 xx"), QUEUED];
        Case { claim: "RCPT", way, scripts: &[&at_rcpt, WHOLE], session: &session }.play().await;
        let at_end = "OPEN\nMAIL\nRCPT\nC: DATA\nS: 354 go\nMESSAGE\nFLOOD 250 2.0.0 ";
        let session = [ACCEPTED, ("DATA", "250 2.0.0 xx"), ACCEPTED, QUEUED];
        Case { claim: "final dot", way, scripts: &[at_end, WHOLE], session: &session }.play().await;
    }
}

#[tokio::test]
async fn a_reply_that_comes_before_its_command_is_no_answer_to_it() {
    // All replies that are still due are sent at once: none of them was an answer.
    for way in all_ways() {
        let exchanges = exchanges(way);
        for (at, pair) in exchanges.windows(2).enumerate() {
            let (early, next) = (&pair[0], pair[1].step);
            let done = exchanges[..at].iter().map(|done| format!("{}\n{}\n", done.expects, said(done.says)));
            let rest: String = exchanges[at..].iter().map(|exchange| exchange.says).collect();
            let script = format!("{}{}\n{}\nEOF-ANY", done.collect::<String>(), early.expects, said(&rest));
            let again = whole(&exchanges);
            let (scripts, session) = match next {
                Step::Opening => (vec![script.as_str()], vec![(RCPT, UNAVAILABLE)]),
                Step::Mail | Step::Rcpt => (vec![script.as_str()], vec![(RCPT, LOST)]),
                Step::Data => (vec![script.as_str(), &again], vec![ACCEPTED, QUEUED]),
                Step::FinalDot => (vec![script.as_str()], vec![ACCEPTED, ("DATA", UNEXPECTED)]),
            };
            let claim = format!("all the rest at {}", early.expects);
            Case { claim: &claim, way, scripts: &scripts, session: &session }.play().await;
        }
    }
}

#[tokio::test]
async fn a_second_answer_is_no_answer_to_what_follows() {
    let ok = "250 2.1.5 Ok\\r\\n";
    let refused_then_taken = [ACCEPTED, ("DATA", "451 4.3.0 no\r\n"), ACCEPTED, QUEUED];
    let end = |replies: &str| format!("OPEN\nMAIL\nRCPT\nC: DATA\nS: 354 go\nMESSAGE\nS! {replies}\nEOF-ANY");
    let twice = end("250 2.0.0 queued\\r\\n250 2.0.0 queued\\r\\n");
    let both = end("451 4.3.0 no\\r\\n250 2.0.0 queued\\r\\n");
    let at_rcpt = format!("OPEN\nMAIL\nC: {RCPT}\nS! 450 4.2.1 no\\r\\n{ok}\nEOF-ANY");
    for way in WAYS {
        let rows = [
            Row("taken twice", &[&twice, WHOLE], &[ACCEPTED, QUEUED, ACCEPTED, QUEUED]),
            Row("refused, then taken", &[&both, WHOLE], &refused_then_taken),
            Row(
                "a recipient refused, then taken",
                &[&at_rcpt, WHOLE],
                &[(RCPT, "450 4.2.1 no\r\n"), ACCEPTED, QUEUED],
            ),
        ];
        play_by(way, &rows).await;
    }
}

#[tokio::test]
async fn control_characters_do_not_reach_the_sender() {
    let reply = |code: &str| format!("S! {code} 5.1.1 a\\x1b[2J\\x00\\x07\\x9b\\xff\\r\\x0b\\r\\n");
    let wanted = "550 5.1.1 a?[2J??????\r\n";
    for way in WAYS {
        let at_rcpt = format!("OPEN\nMAIL\nC: {RCPT}\n{}\nRSET\nQUIT", reply("550"));
        Case { claim: "RCPT", way, scripts: &[&at_rcpt], session: &[(RCPT, wanted), ("RSET", "")] }
            .play()
            .await;
        let at_end = format!("OPEN\nMAIL\nRCPT\nC: DATA\nS: 354 go\nMESSAGE\n{}\nQUIT", reply("550"));
        Case { claim: "final dot", way, scripts: &[&at_end], session: &[ACCEPTED, ("DATA", wanted)] }
            .play()
            .await;
    }
}

#[tokio::test]
async fn a_next_hop_that_is_dead_is_not_available() {
    let listener = TcpListener::bind("[::1]:0").await.expect("a port on ::1");
    let closed = listener.local_addr().expect("an address");
    drop(listener);
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "").expect("a file");
    drop(UnixListener::bind(path("abandoned")).expect("a socket"));
    // a TCP connection to a broadcast address is refused by the kernel itself
    let unreachable: SocketAddr = "255.255.255.255:25".parse().expect("an address");
    let rows: [(&str, Address); 6] = [
        ("no server listens", closed.into()),
        ("the network is unreachable", unreachable.into()),
        ("no such socket", unix(&path("missing"))),
        ("a socket without a listener", unix(&path("abandoned"))),
        ("a file", unix(&path("file"))),
        ("a folder", unix(folder.path())),
    ];
    for (claim, address) in rows {
        for protocol in [Protocol::Smtp, Protocol::Lmtp] {
            let next_hop = next_hop(Way { protocol, ..SMTP }, address.clone());
            let mut session = Session::new(&next_hop);
            let reply = session.say(RCPT).await.expect("a reply");
            assert_eq!(reply.to_string(), UNAVAILABLE, "{claim}");
            let error = next_hop.probe().await.expect_err(claim);
            assert_eq!(error.to_string(), format!("the connection to {address} failed while connecting"));
        }
    }
}

#[tokio::test]
async fn a_next_hop_that_closes_within_the_message_does_not_get_its_end() {
    let line = [[b'x'; 998].as_slice(), b"\r\n"].concat();
    let lines = vec![line.as_slice(); 20_000];
    for way in all_ways() {
        let exchanges = exchanges(way);
        let script = whole(&exchanges);
        let (before, _) = script.split_once("MESSAGE").expect("a message");
        for end in ["PART", "PART\nRESET"] {
            let peer = Peer::play("half a message", way, &[&format!("{before}{end}")]).await;
            let mut session = Session::new(&behind(&peer, way));
            session.say(RCPT).await;
            assert_eq!(session.deliver(&lines).await.to_string(), LOST, "{way:?} {end}");
            session.transport.close().await;
            peer.finish().await;
        }
    }
}
