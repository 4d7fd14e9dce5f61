//! Claims about the opening of a session with the mail server behind: greeting, EHLO, XCLIENT,
//! MAIL.

use sixgate::nexthop::{Capabilities, ClientIdentity, EHLO_REJECTIONS, HEADER_RESERVE, Protocol};

use crate::{Case, LMTP, PROXY, SMTP, Session, Socket, UNAVAILABLE, WAYS, Way, XCLIENT, behind, peer::Peer};

/// One recipient, whose answer is all that matters.
async fn answers(way: Way, rows: &[(&str, impl AsRef<str>, &str)]) {
    for (claim, script, wanted) in rows {
        let case =
            Case { claim, way, scripts: &[script.as_ref()], session: &[("RCPT TO:<b@d.example>", wanted)] };
        case.play().await;
    }
}

/// Two messages of a client, and one under another name of it.
async fn hello_again(way: Way, scripts: &[&str]) {
    let case = Case {
        claim: "EHLO again",
        way,
        scripts,
        session: &[
            ("RCPT TO:<b@d.example>", "250"),
            ("DATA", "250 2.0.0 queued"),
            ("RCPT TO:<b@d.example>", "250"),
            ("DATA", "250 2.0.0 queued"),
            ("EHLO other.example", ""),
            ("RCPT TO:<b@d.example>", "250"),
            ("DATA", "250 2.0.0 queued"),
        ],
    };
    case.play().await;
}

#[tokio::test]
async fn a_next_hop_that_does_not_greet_is_not_available() {
    let rows = [
        ("it hangs up", "", UNAVAILABLE),
        ("it resets", "RESET", UNAVAILABLE),
        ("it refuses for good", "S: 554 no\nEOF", UNAVAILABLE),
        ("it refuses for now", "S: 450 no\nEOF", UNAVAILABLE),
        ("it goes down", "S: 421 bye", UNAVAILABLE),
        ("it hangs up within the greeting", "S: 220-a", UNAVAILABLE),
        ("it is no mail server", "S: SSH-2.0-a\nEOF", UNAVAILABLE),
        ("it ends lines with LF", "S! 220 a\\n\nEOF", UNAVAILABLE),
        ("it cannot count", "S: 220-a\nS: 221 b\nEOF", UNAVAILABLE),
        ("its line never ends", "ENDLESS", UNAVAILABLE),
        ("it greets twice", "S! 220 a\\r\\n220 b\\r\\n\nEOF", UNAVAILABLE),
        ("it hangs up at EHLO", "S: 220 a\nC: EHLO gate.example", UNAVAILABLE),
        ("it goes down at EHLO", "S: 220 a\nC: EHLO gate.example\nS: 421 bye", UNAVAILABLE),
        ("it refuses EHLO for now", "S: 220 a\nC: EHLO gate.example\nS: 450 no\nEOF", UNAVAILABLE),
        (
            "it refuses EHLO and HELO",
            "S: 220 a\nC: EHLO gate.example\nS: 502 no\nC: HELO gate.example\nS: 502 no\nEOF",
            UNAVAILABLE,
        ),
        (
            "its offer never ends",
            "S: 220 a\nC: EHLO gate.example\nS! 250-a\\r\\n\nS: 250-b\nENDLESS",
            UNAVAILABLE,
        ),
    ];
    answers(SMTP, &rows).await;
}

#[tokio::test]
async fn a_next_hop_without_ehlo_gets_mail_without_parameters() {
    let script =
        "S: 220 a\nC: EHLO gate.example\nS: 502 no\nC: HELO gate.example\nS: 250 a\nMAIL\nRCPT\nDATA\nQUIT";
    let case = Case {
        claim: "HELO",
        way: SMTP,
        scripts: &[script],
        session: &[
            ("MAIL FROM:<a@sender.example> SIZE=10 BODY=7BIT", ""),
            ("RCPT TO:<b@d.example>", "250 2.1.5 Ok"),
            ("DATA", "250 2.0.0 queued"),
        ],
    };
    case.play().await;
}

#[tokio::test]
async fn mail_has_the_parameters_that_are_given_and_offered() {
    let all =
        "S: 220 a\nC: EHLO gate.example\nS: 250-mx\nS: 250-SIZE 100000\nS: 250-SMTPUTF8\nS: 250 8BITMIME";
    let none = "S: 220 a\nC: EHLO gate.example\nS: 250 mx";
    let rows = [
        ("MAIL FROM:<>", all, Some("")),
        ("MAIL FROM:<> SIZE=10", all, Some(" SIZE=1010")),
        ("MAIL FROM:<> SIZE=18446744073709551615", all, Some(" SIZE=18446744073709551615")),
        ("MAIL FROM:<> BODY=7BIT", all, Some(" BODY=7BIT")),
        ("MAIL FROM:<> BODY=8BITMIME SIZE=0", all, Some(" SIZE=1000 BODY=8BITMIME")),
        ("MAIL FROM:<> SMTPUTF8", all, Some(" SMTPUTF8")),
        ("MAIL FROM:<> SMTPUTF8 BODY=8BITMIME SIZE=1", all, Some(" SIZE=1001 BODY=8BITMIME SMTPUTF8")),
        ("MAIL FROM:<> SIZE=10 BODY=7BIT", none, Some("")),
        ("MAIL FROM:<> BODY=8BITMIME", none, None),
        ("MAIL FROM:<> SMTPUTF8", none, None),
    ];
    for (mail, open, parameters) in rows {
        let end = parameters.map_or_else(
            || "EOF".to_owned(),
            |parameters| format!("C: MAIL FROM:<>{parameters}\nS: 250 Ok\nRCPT\nRSET\nQUIT"),
        );
        let wanted = if parameters.is_some() { "250 " } else { UNAVAILABLE };
        let case = Case {
            claim: &format!("{mail} {open}"),
            way: SMTP,
            scripts: &[&format!("{open}\n{end}")],
            session: &[(mail, ""), ("RCPT TO:<b@d.example>", wanted), ("RSET", "")],
        };
        case.play().await;
    }
}

#[tokio::test]
async fn addresses_in_utf_8_arrive_octet_for_octet() {
    let script = "S: 220 a\nC: EHLO gate.example\nS: 250-mx\nS: 250 SMTPUTF8\n\
                  C: MAIL FROM:<用户@例え.example> SMTPUTF8\nS: 250 Ok\n\
                  C: RCPT TO:<\"ü e\u{308}\"@ex\u{e4}mple.example>\nS: 250 2.1.5 Ok\nDATA\nQUIT";
    for way in [SMTP, LMTP] {
        let case = Case {
            claim: "two alphabets",
            way,
            scripts: &[script],
            session: &[
                ("MAIL FROM:<用户@例え.example> SMTPUTF8", ""),
                ("RCPT TO:<\"ü e\u{308}\"@ex\u{e4}mple.example>", "250 2.1.5 Ok"),
                ("DATA", "250 2.0.0 queued"),
            ],
        };
        case.play().await;
    }
}

#[tokio::test]
async fn a_next_hop_that_does_not_take_xclient_gets_no_mail() {
    let offers = |attributes: &str| {
        format!("S: 220 a\nC: EHLO gate.example\nS: 250-mx\nS: 250-XCLIENT{attributes}\nS: 250 HELP\n")
    };
    let command = "C: XCLIENT NAME=mail.sender.example ADDR=IPV6:2001:db8::1\n";
    let told = offers(" NAME ADDR") + command;
    let rows = [
        ("not offered", "OPEN\nEOF".to_owned(), UNAVAILABLE),
        ("no EHLO", "S: 220 a\nC: EHLO gate.example\nS: 502 no\nEOF".to_owned(), UNAVAILABLE),
        ("no attributes", offers("") + "EOF", UNAVAILABLE),
        ("no ADDR", offers(" NAME HELO") + "EOF", UNAVAILABLE),
        ("no NAME", offers(" ADDR HELO") + "EOF", UNAVAILABLE),
        ("refused", told.clone() + "S: 550 5.7.0 no\nEOF", UNAVAILABLE),
        ("refused for now", told.clone() + "S: 450 4.7.0 no\nEOF", UNAVAILABLE),
        ("not understood", told.clone() + "S: 501 5.5.4 no\nEOF", UNAVAILABLE),
        ("a success of another kind", told.clone() + "S: 250 Ok\nEOF", UNAVAILABLE),
        ("goes down", told.clone() + "S: 421 4.3.2 bye", UNAVAILABLE),
        ("hangs up", told.clone(), UNAVAILABLE),
        ("hangs up then", told.clone() + "S: 220 a\nC: EHLO helo.sender.example", UNAVAILABLE),
        (
            "does not want this client",
            told.clone() + "S: 220 a\nC: EHLO helo.sender.example\nS: 550 5.7.1 bad name\nEOF",
            "550 5.7.1 bad name\r\n",
        ),
        (
            "goes down then",
            told + "S: 220 a\nC: EHLO helo.sender.example\nS: 421 4.3.2 bye",
            "451 4.3.2 bye\r\n",
        ),
    ];
    answers(XCLIENT, &rows).await;
}

#[tokio::test]
async fn another_name_of_the_client_is_sent_on_another_connection() {
    let other = "S: 220 a\nC: EHLO gate.example\nS: 250-mx\nS: 250 XCLIENT NAME ADDR HELO\n\
                 C: XCLIENT HELO=other.example NAME=mail.sender.example ADDR=IPV6:2001:db8::1\n\
                 S: 220 a\nC: EHLO other.example\nS: 250 mx\nMAIL\nRCPT\nDATA\nQUIT";
    hello_again(XCLIENT, &["INTRODUCED\nMAIL\nRCPT\nDATA\nMAIL\nRCPT\nDATA\nQUIT", other]).await;
}

#[tokio::test]
async fn a_next_hop_that_does_not_take_a_proxy_header_gets_no_mail() {
    let unprepared = |reply: &str| format!("PROXY\n{reply}");
    let rows = [
        ("it hangs up", unprepared(""), UNAVAILABLE),
        ("it resets", unprepared("RESET"), UNAVAILABLE),
        // Exim, postscreen, Haraka: a client sends data before the greeting
        ("it refuses for good", unprepared("S: 554 SMTP synchronization error\nEOF"), UNAVAILABLE),
        ("it refuses for now", unprepared("S: 421 no"), UNAVAILABLE),
        // Postfix: an empty line is not a command, and QUIT is one
        (
            "it answers lines",
            unprepared("S! 220 a\\r\\n500 b\\r\\n500 b\\r\\n221 c\\r\\n\nEOF-ANY"),
            UNAVAILABLE,
        ),
        ("and after EHLO", unprepared("S: 220 a\nHELLO\nS! 500 b\\r\\n221 c\\r\\n\nEOF-ANY"), UNAVAILABLE),
        ("EHLO is out of order", unprepared("S: 220 a\nHELLO\nS: 503 b\nEOF"), UNAVAILABLE),
        (
            "this client's name",
            unprepared("S: 220 a\nHELLO\nS: 550 5.7.1 bad name\nEOF"),
            "550 5.7.1 bad name\r\n",
        ),
        (
            "this client's short name",
            unprepared("S: 220 a\nHELLO\nS: 504 5.5.2 not fully qualified\nEOF"),
            "504 5.5.2 not fully qualified\r\n",
        ),
        (
            "this client for now",
            unprepared("S: 220 a\nHELLO\nS: 450 4.7.1 later\nEOF"),
            "450 4.7.1 later\r\n",
        ),
    ];
    for way in [PROXY, Way { protocol: Protocol::Lmtp, socket: Socket::Unix, ..PROXY }] {
        answers(way, &rows).await;
    }
}

#[tokio::test]
async fn another_name_of_the_client_is_another_connection_with_a_proxy_header() {
    let other = "PROXY\nS: 220 a\nC: EHLO other.example\nS: 250 mx\nMAIL\nRCPT\nDATA\nQUIT";
    hello_again(PROXY, &["OPEN\nMAIL\nRCPT\nDATA\nMAIL\nRCPT\nDATA\nQUIT", other]).await;
}

#[tokio::test]
async fn a_probe_has_no_client_behind_it() {
    for way in WAYS.into_iter().filter(|way| way.client == ClientIdentity::Proxy) {
        let probe = "LOCAL\nS: 220 a\nC: EHLO gate.example\nS: 250-mx\nS: 250 SIZE 100000\nPROBE";
        // what is offered to a client is not offered to all
        let visit = "PROXY\nS: 220 a\nHELLO\nS: 250-mx\nS: 250 8BITMIME\nMAIL\nRCPT\nRSET\nQUIT";
        let peer = Peer::play("a probe", way, &[probe, visit]).await;
        let next_hop = behind(&peer, way);
        let probed = Capabilities { size: Some(100_000 - HEADER_RESERVE), ..Capabilities::default() };
        assert_eq!(next_hop.probe().await.expect("a probe"), probed);
        let mut session = Session::new(&next_hop);
        session.say("RCPT TO:<b@d.example>").await;
        session.say("RSET").await;
        session.transport.close().await;
        assert_eq!(next_hop.capabilities(), Some(probed));
        peer.finish().await;
    }
}

#[tokio::test]
async fn what_was_last_offered_is_known() {
    let scripts = [
        "OPEN\nPROBE",
        "S: 220 a\nC: EHLO gate.example\nS: 250-mx\nS: 250-8BITMIME\nS: 250 SMTPUTF8\nMAIL\nRCPT\nRSET\nQUIT",
        "S: 220 a\nC: EHLO gate.example\nS: 450 no\nEOF",
    ];
    let peer = Peer::play("three visits", SMTP, &scripts).await;
    let next_hop = behind(&peer, SMTP);
    assert_eq!(next_hop.capabilities(), None);
    let probed =
        Capabilities { eight_bit_mime: true, size: Some(100_000 - HEADER_RESERVE), smtp_utf8: false };
    assert_eq!(next_hop.probe().await.expect("a probe"), probed);
    assert_eq!(next_hop.capabilities(), Some(probed));
    let mut session = Session::new(&next_hop);
    session.say("RCPT TO:<b@d.example>").await;
    let changed = Capabilities { eight_bit_mime: true, size: None, smtp_utf8: true };
    assert_eq!(next_hop.capabilities(), Some(changed));
    session.say("RSET").await;
    session.transport.close().await;
    next_hop.probe().await.expect_err("EHLO is refused");
    assert_eq!(next_hop.capabilities(), Some(changed), "what was known is kept");
    peer.finish().await;
}

#[tokio::test]
async fn a_probe_finds_that_xclient_is_missing() {
    let peer = Peer::play("a probe", SMTP, &["OPEN\nEOF"]).await;
    let error = behind(&peer, XCLIENT).probe().await.expect_err("XCLIENT is missing");
    assert_eq!(error.to_string(), format!("{} does not offer XCLIENT NAME ADDR", peer.address()));
    peer.finish().await;
}

#[tokio::test]
async fn what_was_offered_counts_until_ehlo_was_rejected_several_times_in_a_row() {
    let helo = "S: 220 a\nC: EHLO gate.example\nS: 502 no\nC: HELO gate.example\nS: 250 a\n";
    let rejected = format!("{helo}PROBE");
    let visit = format!("{helo}MAIL\nRCPT\nDATA\nQUIT");
    let mut scripts = vec!["OPEN\nPROBE", &rejected, &visit, "OPEN\nPROBE"];
    scripts.extend((0..EHLO_REJECTIONS).map(|_| rejected.as_str()));
    let peer = Peer::play("EHLO rejected", SMTP, &scripts).await;
    let next_hop = behind(&peer, SMTP);
    let offered =
        Capabilities { eight_bit_mime: true, size: Some(100_000 - HEADER_RESERVE), smtp_utf8: false };
    assert_eq!(next_hop.probe().await.expect("a probe"), offered);
    assert_eq!(next_hop.probe().await.expect("a probe"), offered, "rejected once");
    let mut session = Session::new(&next_hop);
    for command in ["RCPT TO:<b@d.example>", "DATA"] {
        assert_eq!(session.say(command).await.expect("a reply").code(), 250);
    }
    session.transport.close().await;
    assert_eq!(next_hop.capabilities(), Some(offered), "rejected twice");
    assert_eq!(next_hop.probe().await.expect("a probe"), offered, "accepted");
    for _ in 1..EHLO_REJECTIONS {
        assert_eq!(next_hop.probe().await.expect("a probe"), offered, "rejected again");
    }
    assert_eq!(next_hop.probe().await.expect("a probe"), Capabilities::default());
    peer.finish().await;
}

#[tokio::test]
async fn a_probe_is_certain_before_a_next_hop_counts_as_one_without_extensions() {
    let helo = "S: 220 a\nC: EHLO gate.example\nS: 502 no\nC: HELO gate.example\nS: 250 a\n";
    let (left, probed) = (format!("{helo}QUIT"), format!("{helo}PROBE"));
    let mut plain = vec![left.as_str(); EHLO_REJECTIONS as usize - 1];
    plain.push(&probed);
    let offered =
        Capabilities { eight_bit_mime: true, size: Some(100_000 - HEADER_RESERVE), smtp_utf8: false };
    for (scripts, wanted) in [(plain, Capabilities::default()), (vec![left.as_str(), "OPEN\nPROBE"], offered)]
    {
        let peer = Peer::play("the first probe", SMTP, &scripts).await;
        assert_eq!(behind(&peer, SMTP).probe().await.expect("a probe"), wanted);
        peer.finish().await;
    }
}
