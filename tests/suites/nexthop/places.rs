//! Claims about how many connections to the mail server behind there are: idle ones are given back
//! and taken again, and a client that cannot have one is told so in time.

use std::time::Duration;

use sixgate::nexthop::{ConnectionBounds, PROMPT_RESUMPTIONS_MAX, Protocol, RESUMPTIONS_MAX, SILENCE};
use tokio::time::Instant;

use crate::{
    BOUNDS, LOST, Row, SMTP, Session, UNAVAILABLE, UNEXPECTED, WAYS, XCLIENT, behind, bounded,
    peer::{Clock, Peer},
    play_by,
};

const RCPT: &str = "RCPT TO:<b@d.example>";
const ACCEPTED: (&str, &str) = (RCPT, "250 2.1.5 Ok\r\n");
const QUEUED: (&str, &str) = ("DATA", "250 2.0.0 queued\r\n");
const REST: (&str, &str) = ("REST", "");
const BUSY: &str = "451 4.3.2 Too many connections to the mail server, please try again later.\r\n";
/// A whole connection, and one that was given back within its transaction.
const WHOLE: &str = "OPEN\nMAIL\nRCPT\nDATA\nQUIT";
const BEGUN: &str = "OPEN\nMAIL\nRCPT\nQUIT";

#[tokio::test]
async fn a_connection_that_was_given_back_is_taken_again() {
    let rows = [
        Row("between transactions", &[WHOLE, WHOLE], &[ACCEPTED, QUEUED, REST, ACCEPTED, QUEUED]),
        Row("twice", &[WHOLE, WHOLE], &[REST, ACCEPTED, QUEUED, REST, REST, ACCEPTED, QUEUED]),
        Row("before the message", &[BEGUN, WHOLE], &[ACCEPTED, REST, QUEUED]),
        Row("and RSET", &[BEGUN, WHOLE], &[ACCEPTED, REST, ("RSET", ""), ACCEPTED, QUEUED]),
        Row(
            "after a refused recipient",
            &[&format!("OPEN\nMAIL\nC: {RCPT}\nS: 550 5.1.1 who\nQUIT"), WHOLE],
            &[(RCPT, "550 5.1.1 who"), REST, ACCEPTED, QUEUED],
        ),
        Row(
            "after a refused sender",
            &["OPEN\nC: MAIL FROM:<a@sender.example>\nS: 550 5.7.1 no\nQUIT"],
            &[(RCPT, "550 5.7.1 no"), REST, (RCPT, "550 5.7.1 no")],
        ),
        Row(
            "the next hop hangs up then",
            &[BEGUN, "OPEN\nMAIL\nRCPT\nC: DATA", WHOLE],
            &[ACCEPTED, REST, QUEUED],
        ),
        Row("the next hop hung up before", &["OPEN\nMAIL\nRCPT", WHOLE], &[ACCEPTED, QUEUED]),
    ];
    for way in WAYS {
        play_by(way, &rows).await;
    }
}

#[tokio::test]
async fn recipients_are_repeated_before_the_next_one() {
    let other = ("RCPT TO:<c@d.example>", "250 2.1.5 Ok\r\n");
    let both = "OPEN\nMAIL\nRCPT\nC: RCPT TO:<c@d.example>\nS: 250 2.1.5 Ok\nDATA\nQUIT";
    let rows = [Row("another recipient", &[BEGUN, both], &[ACCEPTED, REST, other, QUEUED])];
    for way in WAYS.into_iter().filter(|way| way.protocol == Protocol::Smtp) {
        play_by(way, &rows).await;
    }
}

#[tokio::test]
async fn another_answer_on_the_second_connection_is_a_failure_for_the_moment() {
    let at_rcpt = |reply: &str| format!("OPEN\nMAIL\nC: {RCPT}\nS: {reply}\nEOF");
    let less = "GREET\nS: 250-mx.example\nS: 250 SIZE 100000\nEOF";
    let smaller = "GREET\nS: 250-mx.example\nS: 250-SIZE 500\nS: 250 8BITMIME\n\
                   C: MAIL FROM:<a@sender.example> SIZE=1125 BODY=8BITMIME\nS: 552 5.3.4 too big\nQUIT";
    let eight_bit = "MAIL FROM:<a@sender.example> BODY=8BITMIME";
    let large = "MAIL FROM:<a@sender.example> SIZE=1000 BODY=8BITMIME";
    let with = |parameters: &str| {
        format!("OPEN\nC: MAIL FROM:<a@sender.example>{parameters}\nS: 250 2.1.0 Ok\nRCPT\nQUIT")
    };
    let rows = [
        Row("refused for good", &[BEGUN, &at_rcpt("550 5.1.1 who")], &[ACCEPTED, REST, ("DATA", UNEXPECTED)]),
        Row(
            "refused for now",
            &[BEGUN, &at_rcpt("450 4.2.1 later")],
            &[ACCEPTED, REST, ("DATA", UNEXPECTED)],
        ),
        Row("we are refused", &[BEGUN, &at_rcpt("530 5.7.0 TLS")], &[ACCEPTED, REST, ("DATA", UNAVAILABLE)]),
        Row("it is gone", &[BEGUN, "S: 421 4.3.2 down"], &[ACCEPTED, REST, ("DATA", UNAVAILABLE)]),
        Row(
            "it is lost at the recipient",
            &[BEGUN, &format!("OPEN\nMAIL\nC: {RCPT}")],
            &[ACCEPTED, REST, ("DATA", LOST)],
        ),
        Row(
            "an extension is missing",
            &[&with(" BODY=8BITMIME"), less],
            &[(eight_bit, ""), ACCEPTED, REST, ("DATA", UNAVAILABLE)],
        ),
        Row(
            "it takes less",
            &[&with(" SIZE=2000 BODY=8BITMIME"), smaller],
            &[(large, ""), ACCEPTED, REST, ("DATA", UNEXPECTED)],
        ),
    ];
    play_by(SMTP, &rows).await;
}

#[tokio::test]
async fn the_client_is_named_again_by_xclient_and_one_client_may_be_refused() {
    let told = "INTRODUCED\nMAIL\nRCPT\n";
    let refuses = "S: 220 a\nC: EHLO gate.example\nS: 250-mx\nS: 250 XCLIENT NAME ADDR HELO\n\
                   C: XCLIENT HELO=helo.sender.example NAME=mail.sender.example ADDR=IPV6:2001:db8::1\n\
                   S: 550 5.7.0 not this one\nEOF";
    let rows = [
        Row("again", &[&format!("{told}QUIT"), &format!("{told}DATA\nQUIT")], &[ACCEPTED, REST, QUEUED]),
        Row("refused then", &[&format!("{told}QUIT"), refuses], &[ACCEPTED, REST, ("DATA", UNAVAILABLE)]),
    ];
    play_by(XCLIENT, &rows).await;
}

#[tokio::test]
async fn a_client_that_is_silent_again_and_again_keeps_its_connection_at_last() {
    let other = "RCPT TO:<c@d.example>";
    let refused = format!("OPEN\nMAIL\nRCPT\nC: {other}\nS: 550 5.1.1 who\nQUIT");
    let last = format!("OPEN\nMAIL\nRCPT\nC: {other}\nS: 550 5.1.1 who\nDATA\nQUIT");
    let mut scripts = vec![BEGUN];
    scripts.extend((1..RESUMPTIONS_MAX).map(|_| refused.as_str()));
    scripts.push(&last);
    let peer = Peer::play("silent", SMTP, &scripts).await;
    let next_hop = bounded(&peer, SMTP, ConnectionBounds { idle: Duration::from_millis(1), ..BOUNDS });
    let mut session = Session::new(&next_hop);
    assert_eq!(session.say(RCPT).await.expect("a reply").code(), 250);
    for _ in 0..RESUMPTIONS_MAX {
        session.transport.give_back().await;
        assert_eq!(session.say(other).await.expect("a reply").code(), 550);
    }
    let rest = tokio::time::timeout(Duration::from_millis(50), session.transport.rest());
    rest.await.expect_err("it never resolves");
    assert_eq!(session.say("DATA").await.expect("a reply").code(), 250);
    assert_eq!(next_hop.reached()[2], ("next_hop_resumptions", 1));
    session.transport.close().await;
    peer.finish().await;
}

#[tokio::test]
async fn an_idle_connection_is_given_back_by_itself() {
    for (script, commands) in [(BEGUN, vec![RCPT]), (WHOLE, vec![RCPT, "DATA"])] {
        for way in WAYS {
            let peer = Peer::play("idle", way, &[script]).await;
            let bounds = ConnectionBounds { idle: Duration::from_millis(1), ..BOUNDS };
            let mut session = Session::new(&bounded(&peer, way, bounds));
            for command in &commands {
                assert_eq!(session.say(command).await.expect("a reply").code(), 250);
            }
            tokio::select! {
                never = session.transport.rest() => match never {},
                _ = peer.finish() => {}
            }
        }
    }
}

#[tokio::test]
async fn a_client_waits_for_the_connection_that_another_gives_back() {
    for way in WAYS {
        let peer = Peer::play("one for two", way, &[BEGUN, WHOLE, WHOLE]).await;
        let next_hop = behind(&peer, way);
        let (mut first, mut second) = (Session::new(&next_hop), Session::new(&next_hop));
        assert_eq!(first.say(RCPT).await.expect("a reply").code(), 250);
        let (reply, ()) = tokio::join!(second.say(RCPT), first.transport.give_back());
        assert_eq!(reply.expect("a reply").code(), 250);
        assert_eq!(second.say("DATA").await.expect("a reply").code(), 250);
        let (reply, ()) = tokio::join!(first.say("DATA"), second.transport.give_back());
        assert_eq!(reply.expect("a reply").code(), 250);
        first.transport.close().await;
        peer.finish().await;
    }
}

#[tokio::test]
async fn a_connection_between_two_messages_is_released_to_a_waiting_client() {
    let hour = Duration::from_secs(60 * 60);
    for way in WAYS {
        let peer = Peer::play("kept open", way, &[WHOLE, WHOLE]).await;
        let next_hop = bounded(&peer, way, ConnectionBounds { idle: hour, ..BOUNDS });
        let (mut first, mut second) = (Session::new(&next_hop), Session::new(&next_hop));
        for command in [RCPT, "DATA"] {
            assert_eq!(first.say(command).await.expect("a reply").code(), 250);
        }
        tokio::select! {
            never = first.transport.rest() => match never {},
            reply = second.say(RCPT) => assert_eq!(reply.expect("a reply").code(), 250),
        }
        assert_eq!(second.say("DATA").await.expect("a reply").code(), 250);
        second.transport.close().await;
        peer.finish().await;
    }
}

#[tokio::test]
async fn a_silent_client_within_a_transaction_yields_its_connection() {
    let hour = Duration::from_secs(60 * 60);
    for way in WAYS {
        let peer = Peer::play("silent", way, &[BEGUN, WHOLE, WHOLE]).await;
        let next_hop = bounded(&peer, way, ConnectionBounds { idle: hour, ..BOUNDS });
        let (mut first, mut second) = (Session::new(&next_hop), Session::new(&next_hop));
        assert_eq!(first.say(RCPT).await.expect("a reply").code(), 250);
        let start = Instant::now();
        tokio::select! {
            never = first.transport.rest() => match never {},
            reply = second.say(RCPT) => assert_eq!(reply.expect("a reply").code(), 250),
        }
        assert!(start.elapsed() >= SILENCE, "a client that sends its next command keeps it");
        assert_eq!(second.say("DATA").await.expect("a reply").code(), 250);
        second.transport.close().await;
        assert_eq!(first.say("DATA").await.expect("a reply").code(), 250);
        first.transport.close().await;
        peer.finish().await;
    }
}

#[tokio::test]
async fn a_transaction_repeated_several_times_keeps_its_connection() {
    let other = "RCPT TO:<c@d.example>";
    let refused = format!("OPEN\nMAIL\nRCPT\nC: {other}\nS: 550 5.1.1 who\nQUIT");
    let last = format!("OPEN\nMAIL\nRCPT\nC: {other}\nS: 550 5.1.1 who\nDATA\nQUIT");
    let mut scripts = vec![BEGUN];
    scripts.extend((1..PROMPT_RESUMPTIONS_MAX).map(|_| refused.as_str()));
    scripts.extend([last.as_str(), WHOLE]);
    let peer = Peer::play("several times", SMTP, &scripts).await;
    let hour = Duration::from_secs(60 * 60);
    let next_hop = bounded(&peer, SMTP, ConnectionBounds { idle: hour, ..BOUNDS });
    let (mut first, mut second) = (Session::new(&next_hop), Session::new(&next_hop));
    assert_eq!(first.say(RCPT).await.expect("a reply").code(), 250);
    for _ in 0..PROMPT_RESUMPTIONS_MAX {
        first.transport.give_back().await;
        assert_eq!(first.say(other).await.expect("a reply").code(), 550);
    }
    let (reply, ()) = tokio::join!(second.say(RCPT), async {
        let rest = tokio::time::timeout(2 * SILENCE, first.transport.rest());
        rest.await.expect_err("it never resolves");
        // on the connection that it has: the script has no other one
        assert_eq!(first.say("DATA").await.expect("a reply").code(), 250);
        first.transport.close().await;
    });
    assert_eq!(reply.expect("a reply").code(), 250);
    assert_eq!(second.say("DATA").await.expect("a reply").code(), 250);
    second.transport.close().await;
    peer.finish().await;
}

#[tokio::test]
async fn a_connection_released_before_the_first_recipient_is_not_a_repetition() {
    // once given back, the next hop hangs up twice: the second time is one too many
    let refused = format!("OPEN\nMAIL\nC: {RCPT}\nS: 550 5.1.1 who\nQUIT");
    let hung_up = "OPEN\nMAIL\nRCPT\nC: DATA";
    let rows = [Row(
        "hung up twice",
        &[&refused, hung_up, hung_up],
        &[(RCPT, "550 5.1.1 who"), REST, ACCEPTED, ("DATA", LOST)],
    )];
    for way in WAYS {
        play_by(way, &rows).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_gets_no_connection_in_time_gets_a_reply_and_is_counted() {
    let clock = Clock::held();
    let peer = Peer::play("one for two", SMTP, &["OPEN\nMAIL\nRCPT\nDATA\nQUIT"]).await;
    let next_hop = behind(&peer, SMTP);
    let (mut first, mut second) = (Session::new(&next_hop), Session::new(&next_hop));
    assert_eq!(first.say(RCPT).await.expect("a reply").code(), 250);
    drop(clock);
    let start = Instant::now();
    assert_eq!(second.say(RCPT).await.expect("a reply").to_string(), BUSY);
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(
        second.say(RCPT).await.expect("a reply").to_string(),
        BUSY,
        "it is not tried for each recipient"
    );
    assert_eq!(start.elapsed().as_secs(), 30);
    assert_eq!(next_hop.reached()[..2], [("next_hop_connections", 1), ("next_hop_share", 0)]);
    let _clock = Clock::held();
    assert_eq!(first.say("DATA").await.expect("a reply").code(), 250);
    first.transport.close().await;
    peer.finish().await;
}

#[tokio::test]
async fn more_connections_are_for_those_that_wait() {
    let scripts = ["OPEN\nMAIL\nRCPT\nDATA\nQUIT"; 2];
    let peer = Peer::play("more", SMTP, &scripts).await;
    let next_hop = behind(&peer, SMTP);
    let (mut first, mut second) = (Session::new(&next_hop), Session::new(&next_hop));
    assert_eq!(first.say(RCPT).await.expect("a reply").code(), 250);
    let raise = async {
        next_hop.set_bounds(ConnectionBounds { connections: 8.try_into().expect("a number"), ..BOUNDS });
        // the peer has one connection after the other
        assert_eq!(first.say("DATA").await.expect("a reply").code(), 250);
        first.transport.close().await;
    };
    let (reply, ()) = tokio::join!(second.say(RCPT), raise);
    assert_eq!(reply.expect("a reply").code(), 250);
    assert_eq!(second.say("DATA").await.expect("a reply").code(), 250);
    second.transport.close().await;
    peer.finish().await;
}
