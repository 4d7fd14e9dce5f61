//! Claims about whose fault a refusal of the next hop is: the sender's, who gets it, or ours, which
//! no sender may learn for good.

use std::fmt::Write as _;

use sixgate::nexthop::{ClientIdentity, Protocol};

use crate::{
    Case, LMTP, PROXY, Row, SMTP, Session, Socket, UNAVAILABLE, Way, XCLIENT, behind, peer::Peer, play_by,
};

const RCPT: &str = "RCPT TO:<b@d.example>";
const ACCEPTED: (&str, &str) = (RCPT, "250 2.1.5 Ok\r\n");

/// Refusals that are about sixgate, wherever they come.
const OURS: [&str; 12] = [
    "500 5.5.2 unknown command",
    "502 5.5.1 not implemented",
    "503 5.5.1 out of order",
    "503 5.7.0 TLS required",
    "523 5.7.10 encryption needed",
    "530 5.7.0 Must issue a STARTTLS command first",
    "530 authentication required",
    "534 5.7.9 mechanism too weak",
    "535 5.7.8 credentials invalid",
    "538 5.7.11 encryption required",
    "555 5.5.4 unsupported option",
    "501 5.5.4 syntax",
];
/// Refusals that are about sender, recipient or message.
const SENDERS: [&str; 13] = [
    "501 5.1.7 bad sender",
    "504 5.5.2 not fully qualified",
    "521 5.3.2 takes no mail",
    "550 5.1.1 no such user",
    "550 5.7.1 policy",
    "550 5.7.26 not authenticated",
    "551 5.1.6 moved",
    "552 5.3.4 too big",
    "553 5.1.8 no such domain",
    "554 5.7.1 no",
    "556 5.1.10 null MX",
    "450 4.2.1 later",
    "452 4.3.1 full",
];

const WAYS: [Way; 6] = [
    SMTP,
    XCLIENT,
    PROXY,
    LMTP,
    Way { socket: Socket::Unix, ..LMTP },
    Way { socket: Socket::Unix, client: ClientIdentity::Xclient, ..LMTP },
];

/// What comes before the client is known to the next hop, and the line with the client's name.
fn opening(way: Way) -> (&'static str, &'static str) {
    match way.client {
        ClientIdentity::None => ("GREET\nS: 250-mx.example\nS: 250 8BITMIME\n", ""),
        ClientIdentity::Proxy => ("HEADER\nS: 220 mx.example ESMTP\n", "C: EHLO helo.sender.example\n"),
        ClientIdentity::Xclient => (
            "GREET\nS: 250-mx.example\nS: 250 XCLIENT NAME ADDR HELO\n\
             C: XCLIENT HELO=helo.sender.example NAME=mail.sender.example ADDR=IPV6:2001:db8::1\n\
             S: 220 mx.example ESMTP\n",
            "C: EHLO helo.sender.example\n",
        ),
    }
}

/// The steps at which a refusal can be about a client: the command that the next hop expects, and
/// its reply if it goes on.
fn steps(way: Way) -> Vec<(&'static str, &'static str)> {
    let (_, hello) = opening(way);
    let hello = (!hello.is_empty()).then_some((hello, "S: 250 mx.example\n"));
    let transaction = [
        ("C: MAIL FROM:<a@sender.example>\n", "S: 250 2.1.0 Ok\n"),
        ("C: RCPT TO:<b@d.example>\n", "S: 250 2.1.5 Ok\n"),
        ("C: DATA\n", "S: 354 go\n"),
        ("MESSAGE\n", ""),
    ];
    hello.into_iter().chain(transaction).collect()
}

/// Plays a session that is refused with `reply` at each step; what follows there in the script, and
/// what the sender is told.
async fn refused_at_each_step(reply: &str, follows: impl Fn(&str) -> &'static str, told: &str) {
    for way in WAYS {
        let steps = steps(way);
        for at in 0..steps.len() {
            let mut script = opening(way).0.to_owned();
            for (expects, says) in &steps[..at] {
                write!(script, "{expects}{says}").expect("a text");
            }
            let (expects, _) = steps[at];
            write!(script, "{expects}S: {reply}\n{}", follows(expects)).expect("a text");
            let session = match expects {
                "C: DATA\n" | "MESSAGE\n" => vec![ACCEPTED, ("DATA", told)],
                _ => vec![(RCPT, told)],
            };
            let claim = format!("{reply} at {expects}");
            Case { claim: &claim, way, scripts: &[&script], session: &session }.play().await;
        }
    }
}

#[tokio::test]
async fn a_refusal_of_ourselves_never_returns_mail() {
    for reply in OURS {
        // the connection is given up
        refused_at_each_step(reply, |_| "EOF", UNAVAILABLE).await;
    }
}

#[tokio::test]
async fn a_refusal_of_the_sender_is_the_senders_answer() {
    for reply in SENDERS {
        let follows = |expects: &str| match expects {
            "C: EHLO helo.sender.example\n" => "EOF",
            "C: DATA\n" => "RSET\nQUIT",
            _ => "QUIT",
        };
        refused_at_each_step(reply, follows, &format!("{reply}\r\n")).await;
    }
}

#[tokio::test]
async fn a_code_that_is_not_in_the_rfc_counts_by_its_first_digit() {
    let rows = [
        ("571 5.7.1 access denied", "554 5.7.1 access denied\r\n"),
        ("599 no", "554 5.0.0 no\r\n"),
        ("559 5.1.1 no", "559 5.1.1 no\r\n"),
        ("471 4.7.1 later", "451 4.7.1 later\r\n"),
        ("499 later", "451 4.0.0 later\r\n"),
    ];
    for (reply, told) in rows {
        let follows = |expects: &str| match expects {
            "C: EHLO helo.sender.example\n" => "EOF",
            "C: DATA\n" => "RSET\nQUIT",
            _ => "QUIT",
        };
        refused_at_each_step(reply, follows, told).await;
    }
}

#[tokio::test]
async fn an_address_without_an_enhanced_code_is_the_senders() {
    // Exim
    let malformed = "501 <a@sender.example>: malformed address";
    let wanted = "501 5.0.0 <a@sender.example>: malformed address\r\n";
    for way in [SMTP, LMTP] {
        let rows = [
            Row(
                "MAIL",
                &[&format!("OPEN\nC: MAIL FROM:<a@sender.example>\nS: {malformed}\nQUIT")],
                &[(RCPT, wanted)],
            ),
            Row("RCPT", &[&format!("OPEN\nMAIL\nC: {RCPT}\nS: {malformed}\nQUIT")], &[(RCPT, wanted)]),
            Row(
                "DATA",
                &[&format!("OPEN\nMAIL\nRCPT\nC: DATA\nS: {malformed}\nEOF")],
                &[ACCEPTED, ("DATA", UNAVAILABLE)],
            ),
        ];
        play_by(way, &rows).await;
    }
}

#[tokio::test]
async fn a_refusal_of_the_clients_name_is_the_senders() {
    // Postfix with reject_invalid_helo_hostname, at once and with smtpd_delay_reject
    let invalid = "501 5.5.2 <helo.sender.example>: Helo command rejected: Invalid name";
    let wanted = format!("{invalid}\r\n");
    for way in [XCLIENT, PROXY] {
        let (before, hello) = opening(way);
        let at_hello = format!("{before}{hello}S: {invalid}\nEOF");
        let at_rcpt = format!("{before}{hello}S: 250 mx.example\nMAIL\nC: {RCPT}\nS: {invalid}\nQUIT");
        for script in [at_hello, at_rcpt] {
            let session = [(RCPT, wanted.as_str())];
            Case { claim: "invalid name", way, scripts: &[&script], session: &session }.play().await;
        }
    }
}

#[tokio::test]
async fn a_rejection_of_our_host_name_never_returns_mail() {
    const REJECTED: [&str; 3] = [
        "550 5.7.1 <gate.example>: Helo command rejected: Access denied",
        "504 5.5.2 <gate.example>: Helo command rejected: need fully-qualified hostname",
        "501 5.5.2 <gate.example>: Helo command rejected: Invalid name",
    ];
    for way in [SMTP, LMTP, Way { socket: Socket::Unix, ..SMTP }, XCLIENT, PROXY] {
        for reply in REJECTED {
            // a mail server that is told of clients means the client's own name
            let as_it_is = format!("{reply}\r\n");
            let told = if way.client == ClientIdentity::None { UNAVAILABLE } else { &as_it_is };
            let (before, hello) = opening(way);
            let hello = if hello.is_empty() { String::new() } else { format!("{hello}S: 250 mx.example\n") };
            let begins = format!("{before}{hello}MAIL");
            let script = format!("{begins}\nC: {RCPT}\nS: {reply}\nQUIT");
            Case { claim: reply, way, scripts: &[&script], session: &[(RCPT, told)] }.play().await;
            if !reply.starts_with("501") {
                let script = format!("{begins}\nRCPT\nC: DATA\nS: {reply}\nRSET\nQUIT");
                let session = [ACCEPTED, ("DATA", told)];
                Case { claim: reply, way, scripts: &[&script], session: &session }.play().await;
            }
        }
    }
}

#[tokio::test]
async fn a_refusal_of_ourselves_costs_one_connection_for_each_transaction() {
    let refuses = "OPEN\nMAIL\nC: RCPT TO:<b@d.example>\nS: 530 5.7.0 no\nEOF";
    let rows = [
        Row(
            "the first recipient",
            &[refuses, "OPEN\nMAIL\nRCPT\nDATA\nQUIT"],
            &[
                (RCPT, UNAVAILABLE),
                ("RCPT TO:<c@d.example>", UNAVAILABLE),
                ("RSET", ""),
                ACCEPTED,
                ("DATA", "250 2.0.0 queued"),
            ],
        ),
        Row(
            "a later one leaves the message to the others",
            &["OPEN\nMAIL\nRCPT\nC: RCPT TO:<c@d.example>\nS: 503 5.5.1 no\nDATA\nQUIT"],
            &[ACCEPTED, ("RCPT TO:<c@d.example>", UNAVAILABLE), ("DATA", "250 2.0.0 queued")],
        ),
        Row(
            "it leaves the one repetition to a connection that is lost",
            &["OPEN\nMAIL\nRCPT\nC: RCPT TO:<c@d.example>\nS: 503 5.5.1 no", "OPEN\nMAIL\nRCPT\nDATA\nQUIT"],
            &[ACCEPTED, ("RCPT TO:<c@d.example>", UNAVAILABLE), ("DATA", "250 2.0.0 queued")],
        ),
    ];
    play_by(SMTP, &rows).await;
}

#[tokio::test]
async fn a_message_is_not_ended_when_we_are_refused_within_it() {
    let lines: Vec<&[u8]> = [[b'x'; 998].as_slice(), b"\r\n"].repeat(20_000);
    for (reply, wanted) in [("530 5.7.0 no", UNAVAILABLE), ("552 5.3.4 too big", "552 5.3.4 too big\r\n")] {
        let script = format!("OPEN\nMAIL\nRCPT\nC: DATA\nS: 354 go\nPART\nS: {reply}\nUNENDED");
        let peer = Peer::play(reply, SMTP, &[&script]).await;
        let mut session = Session::new(&behind(&peer, SMTP));
        session.say(RCPT).await;
        assert_eq!(session.deliver(&lines).await.to_string(), wanted);
        session.transport.close().await;
        peer.finish().await;
    }
}

#[tokio::test]
async fn a_probe_finds_that_we_are_refused() {
    let lmtp = Way { protocol: Protocol::Lmtp, socket: Socket::Unix, ..SMTP };
    for way in [SMTP, lmtp] {
        for reply in OURS {
            let peer = Peer::play(reply, way, &[&format!("OPEN\nC: MAIL FROM:<>\nS: {reply}\nEOF")]).await;
            let next_hop = behind(&peer, way);
            let error = next_hop.probe().await.expect_err(reply).to_string();
            let wanted =
                format!("{} rejected sixgate itself, not the sender, at MAIL: {reply}", peer.address());
            assert_eq!(error, wanted);
            peer.finish().await;
        }
        // bounces may be refused, or the queue be full: that is not about us
        for reply in ["550 5.7.1 no bounces", "452 4.3.1 full"] {
            let peer = Peer::play(reply, way, &[&format!("OPEN\nC: MAIL FROM:<>\nS: {reply}\nQUIT")]).await;
            behind(&peer, way).probe().await.expect(reply);
            peer.finish().await;
        }
    }
}
