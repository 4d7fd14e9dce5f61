//! Claims about transactions with the mail server behind: recipients, messages, losses, reuse.

use std::future::ready;

use sixgate::nexthop::Protocol;

use crate::{
    HEADERS, LOST, MESSAGE, Row, SMTP, Session, UNAVAILABLE, UNEXPECTED, WAYS, behind, outgoing, peer::Peer,
    play_by,
};

const RCPT: &str = "RCPT TO:<b@d.example>";
const ACCEPTED: (&str, &str) = (RCPT, "250 2.1.5 Ok\r\n");
const QUEUED: (&str, &str) = ("DATA", "250 2.0.0 queued\r\n");

/// Plays `rows` in each way.
async fn play(rows: &[Row<'_>]) {
    for way in WAYS {
        play_by(way, rows).await;
    }
}

#[tokio::test]
async fn the_answer_to_mail_is_the_answer_to_each_recipient() {
    let refused = |reply: &str| format!("OPEN\nC: MAIL FROM:<a@sender.example>\n{reply}");
    let both = |wanted| [(RCPT, wanted), (RCPT, wanted), ("RSET", ""), ACCEPTED];
    let again = "MAIL\nRCPT\nQUIT";
    play(&[
        Row(
            "for good",
            &[&refused(&format!("S: 552 5.3.4 too big\n{again}"))],
            &both("552 5.3.4 too big\r\n"),
        ),
        Row("for now", &[&refused(&format!("S: 452 full\n{again}"))], &both("452 4.0.0 full\r\n")),
        Row("down", &[&refused("S: 421 4.3.2 bye"), &format!("OPEN\n{again}")], &both("451 4.3.2 bye\r\n")),
        Row("hung up", &[&refused(""), &format!("OPEN\n{again}")], &both(LOST)),
        Row("reset", &[&refused("RESET"), &format!("OPEN\n{again}")], &both(LOST)),
        Row("no reply", &[&refused("S: what\nEOF"), &format!("OPEN\n{again}")], &both(UNEXPECTED)),
        Row("no meaning", &[&refused("S: 354 go\nEOF"), &format!("OPEN\n{again}")], &both(UNEXPECTED)),
    ])
    .await;
}

#[tokio::test]
async fn each_recipient_gets_its_own_answer() {
    let other = "C: RCPT TO:<c@d.example>\n";
    let then = |reply: &str| format!("OPEN\nMAIL\nRCPT\n{other}{reply}");
    let first = |reply: &str| format!("OPEN\nMAIL\nC: {RCPT}\n{reply}");
    let second = |wanted| [ACCEPTED, ("RCPT TO:<c@d.example>", wanted), QUEUED];
    let whole = "OPEN\nMAIL\nRCPT\nDATA\nQUIT";
    let rows = [
        Row("refused", &[&then("S: 550 5.1.1 who\nDATA\nQUIT")], &second("550 5.1.1 who\r\n")),
        Row(
            "deferred",
            &[&then("S: 450-a\nS: 450 b\nDATA\nQUIT")],
            &second("450-4.0.0 a\r\n450 4.0.0 b\r\n"),
        ),
        Row("forwarded", &[&then("S: 251 there\nDATA\nQUIT")], &second("251 2.0.0 there\r\n")),
        Row("dressed up", &[&then("S! 550 a\\x1b[2J\\r\\r\\n\nDATA\nQUIT")], &second("550 5.0.0 a?[2J?\r\n")),
        Row("down, then repeated", &[&then("S: 421 bye"), whole], &second("451 4.0.0 bye\r\n")),
        Row("hung up, then repeated", &[&then(""), whole], &second(LOST)),
        Row("reset, then repeated", &[&then("RESET"), whole], &second(LOST)),
        Row("no reply, then repeated", &[&then("S: 2x\nEOF"), whole], &second(UNEXPECTED)),
        Row("the first one is lost", &[&first(""), whole], &[(RCPT, LOST), ACCEPTED, QUEUED]),
        Row(
            "none is left",
            &[&first("S: 550 no\nRSET\nQUIT")],
            &[(RCPT, "550 5.0.0 no"), ("DATA", "554 5.5.1 ")],
        ),
        Row(
            "postmaster",
            &["OPEN\nMAIL\nC: RCPT TO:<Postmaster>\nS: 250 2.1.5 Ok\nDATA\nQUIT"],
            &[("RCPT TO:<Postmaster>", "250"), QUEUED],
        ),
        Row("no recipient was named", &[], &[("DATA", "554 5.5.1 "), ("RSET", "")]),
    ];
    for way in WAYS.into_iter().filter(|way| way.protocol == Protocol::Smtp) {
        play_by(way, &rows).await;
    }
}

#[tokio::test]
async fn a_next_hop_that_hung_up_before_data_is_asked_once_more() {
    let up_to = |end: &str| format!("OPEN\nMAIL\nRCPT\n{end}");
    let at_data = |end: &str| up_to(&format!("C: DATA\n{end}"));
    let data = |wanted| [ACCEPTED, ("DATA", wanted)];
    let queued = QUEUED.1;
    let refuses = |end: &str| format!("OPEN\nMAIL\nC: {RCPT}\n{end}");
    let whole = "OPEN\nMAIL\nRCPT\nDATA\nQUIT";
    play(&[
        Row("it hung up", &[&up_to(""), whole], &data(queued)),
        Row(
            "it said so",
            &[&format!("OPEN\nMAIL\nC: {RCPT}\nS! 250 2.1.5 Ok\\r\\n421 idle\\r\\n"), whole],
            &data(queued),
        ),
        Row("it reset", &[&up_to("RESET"), whole], &data(queued)),
        Row("it hangs up at DATA", &[&at_data(""), whole], &data(queued)),
        Row("it resets at DATA", &[&at_data("RESET"), whole], &data(queued)),
        Row("it hangs up twice", &[&up_to(""), &at_data("")], &data(LOST)),
        Row("it does not come back", &[&up_to(""), "S: 421 down"], &data(UNAVAILABLE)),
        Row(
            "it refuses MAIL now",
            &[&up_to(""), "OPEN\nC: MAIL FROM:<a@sender.example>\nS: 550 no\nQUIT"],
            &data(UNEXPECTED),
        ),
        Row("it refuses the recipient now", &[&up_to(""), &refuses("S: 550 no\nEOF")], &data(UNEXPECTED)),
        Row("it defers the recipient now", &[&up_to(""), &refuses("S: 450 no\nEOF")], &data(UNEXPECTED)),
        Row("it is lost at the recipient", &[&up_to(""), &refuses("")], &data(LOST)),
    ])
    .await;
}

#[tokio::test]
async fn a_refusal_of_data_is_the_senders_answer() {
    let at_data = |end: &str| format!("OPEN\nMAIL\nRCPT\nC: DATA\n{end}");
    let data = |wanted| [ACCEPTED, ("DATA", wanted), ACCEPTED];
    let again = "OPEN\nMAIL\nRCPT\nQUIT";
    play(&[
        Row("for good", &[&at_data("S: 554 5.7.1 no\nRSET\nMAIL\nRCPT\nQUIT")], &data("554 5.7.1 no\r\n")),
        Row("for now", &[&at_data("S: 451 no\nRSET\nMAIL\nRCPT\nQUIT")], &data("451 4.0.0 no\r\n")),
        Row(
            "RSET is refused",
            &[&at_data("S: 451 no\nC: RSET\nS: 500 no\nEOF"), again],
            &data("451 4.0.0 no\r\n"),
        ),
        Row("down", &[&at_data("S: 421 bye"), again], &data("451 4.0.0 bye\r\n")),
        Row("success", &[&at_data("S: 250 Ok\nEOF"), again], &data(UNEXPECTED)),
        Row("another go-ahead", &[&at_data("S: 334 go\nEOF"), again], &data(UNEXPECTED)),
        Row("no reply", &[&at_data("S: go\nEOF"), again], &data(UNEXPECTED)),
    ])
    .await;
}

#[tokio::test]
async fn the_final_reply_is_the_senders_answer() {
    let end = |end: &str| format!("OPEN\nMAIL\nRCPT\nC: DATA\nS: 354 go\nMESSAGE\n{end}");
    let data = |wanted| [ACCEPTED, ("DATA", wanted), ACCEPTED];
    let kept = "MAIL\nRCPT\nQUIT";
    let again = "OPEN\nMAIL\nRCPT\nQUIT";
    play(&[
        Row("taken", &[&end(&format!("S: 250 2.0.0 as 7\n{kept}"))], &data("250 2.0.0 as 7\r\n")),
        Row(
            "refused",
            &[&end(&format!("S: 554-no\nS: 554 5.7.1 x\n{kept}"))],
            &data("554-5.7.1 no\r\n554 5.7.1 x\r\n"),
        ),
        Row("deferred", &[&end(&format!("S: 452 4.2.2 full\n{kept}"))], &data("452 4.2.2 full\r\n")),
        Row("down", &[&end("S: 421 4.3.2 bye"), again], &data("451 4.3.2 bye\r\n")),
        Row("hung up: never again", &[&end(""), again], &data(LOST)),
        Row("reset: never again", &[&end("RESET"), again], &data(LOST)),
        Row("no reply", &[&end("S: fine\nEOF"), again], &data(UNEXPECTED)),
        Row("no meaning", &[&end("S: 354 go\nEOF"), again], &data(UNEXPECTED)),
        Row("taken, and down", &[&end("S! 250 Ok\\r\\n421 bye\\r\\n"), again], &data("250 2.0.0 Ok\r\n")),
    ])
    .await;
}

#[tokio::test]
async fn a_connection_serves_all_transactions_of_a_session() {
    let session = [
        ACCEPTED,
        ("RSET", ""),
        ("MAIL FROM:<>", ""),
        ACCEPTED,
        QUEUED,
        ("MAIL FROM:<a@sender.example>", ""),
        ACCEPTED,
        QUEUED,
    ];
    let null = "C: MAIL FROM:<>\nS: 250 2.1.0 Ok\nRCPT\nDATA";
    let null_and_down =
        null.replace("DATA", "C: DATA\nS: 354 go\nMESSAGE\nS! 250 2.0.0 queued\\r\\n421 idle\\r\\n");
    let next = "MAIL\nRCPT\nDATA\nQUIT";
    play(&[
        Row("kept", &[&format!("OPEN\nMAIL\nRCPT\nRSET\n{null}\n{next}")], &session),
        Row(
            "lost when idle",
            &[&format!("OPEN\nMAIL\nRCPT\nRSET\n{null}"), &format!("OPEN\n{next}")],
            &session,
        ),
        Row(
            "lost when idle, with a word",
            &[&format!("OPEN\nMAIL\nRCPT\nRSET\n{null_and_down}"), &format!("OPEN\n{next}")],
            &session,
        ),
        Row(
            "lost at MAIL",
            &[
                &format!("OPEN\nMAIL\nRCPT\nRSET\n{null}\nC: MAIL FROM:<a@sender.example>"),
                &format!("OPEN\n{next}"),
            ],
            &session,
        ),
        Row(
            "RSET refused",
            &["OPEN\nMAIL\nRCPT\nC: RSET\nS: 421 no", &format!("OPEN\n{null}\n{next}")],
            &session,
        ),
        Row("RSET lost", &["OPEN\nMAIL\nRCPT\nC: RSET", &format!("OPEN\n{null}\n{next}")], &session),
    ])
    .await;
}

#[tokio::test]
async fn a_session_without_recipients_opens_nothing() {
    play(&[Row("nothing", &[], &[("RSET", ""), ("MAIL FROM:<>", ""), ("RSET", "")])]).await;
}

#[tokio::test]
async fn a_message_arrives_octet_for_octet() {
    let rows: &[(&[&[u8]], &[u8])] = &[
        (&[], b""),
        (&[b"\r\n"], b"\r\n"),
        (&[b".\r\n"], b"..\r\n"),
        (&[b"..\r\n...\r\n"], b"...\r\n....\r\n"),
        (&[b"a\r\n.\r\n.b\r\nc.\r\n"], b"a\r\n..\r\n..b\r\nc.\r\n"),
        (&[b"a\r", b"\n", b".", b"\r\n"], b"a\r\n..\r\n"),
        (&[b"a\r\n", b".", b".\r\n"], b"a\r\n...\r\n"),
        (&[b"a", b".\r\n"], b"a.\r\n"),
        (&[b"", b".", b"", b"\r\n"], b"..\r\n"),
        (&[b"\0\x80\xff\r\n"], b"\0\x80\xff\r\n"),
    ];
    for (pieces, wanted) in rows {
        let peer = Peer::play("a message", SMTP, &["OPEN\nMAIL\nRCPT\nDATA\nQUIT"]).await;
        let mut session = Session::new(&behind(&peer, SMTP));
        session.say(RCPT).await;
        assert_eq!(session.deliver(pieces).await.code(), 250);
        session.transport.close().await;
        assert_eq!(peer.finish().await, [[HEADERS, wanted].concat()], "{pieces:?}");
    }
}

#[tokio::test]
async fn a_large_message_arrives_octet_for_octet() {
    let line = b".0123456789abcdef\r\nx\r\n";
    let message = line.repeat(250_000);
    let wanted = [HEADERS, &b"..0123456789abcdef\r\nx\r\n".repeat(250_000)].concat();
    for size in [1_000_000, 65_536, 65_535, 777] {
        let pieces: Vec<&[u8]> = message.chunks(size).collect();
        let peer = Peer::play("a large message", SMTP, &["OPEN\nMAIL\nRCPT\nDATA\nQUIT"]).await;
        let mut session = Session::new(&behind(&peer, SMTP));
        session.say(RCPT).await;
        assert_eq!(session.deliver(&pieces).await.code(), 250);
        session.transport.close().await;
        assert!(peer.finish().await == [wanted.as_slice()], "pieces of {size} octets");
    }
}

#[tokio::test]
async fn what_is_no_complete_line_never_gets_its_final_dot() {
    let rows: &[&[&[u8]]] = &[
        &[b"a"],
        &[b"a\r"],
        &[b"a\n.\r\n"],
        &[b"a\r\n.\nb\r\n"],
        &[b"a\n", b".\n"],
        &[b"a\r.\r\n"],
        &[b"a\r", b"b\r\n"],
    ];
    for pieces in rows {
        let peer = Peer::play("a fault", SMTP, &["OPEN\nMAIL\nRCPT\nC: DATA\nS: 354 go\nUNENDED"]).await;
        let mut session = Session::new(&behind(&peer, SMTP));
        session.say(RCPT).await;
        let reply = session.deliver(pieces).await;
        assert_eq!(reply.to_string(), "451 4.3.0 Local error in processing, please try again later.\r\n");
        session.transport.close().await;
        peer.finish().await;
    }
}

#[tokio::test]
async fn a_reply_before_the_end_stops_the_message() {
    let message = [b'x'; 998].as_slice();
    let lines: Vec<&[u8]> = [message, b"\r\n"].repeat(20_000);
    let rows = [
        ("refused", "S: 552 5.3.4 too big\nUNENDED", "552 5.3.4 too big\r\n"),
        ("refused and closed", "S: 552 5.3.4 too big", "552 5.3.4 too big\r\n"),
        ("down", "S: 421 4.3.2 bye", "451 4.3.2 bye\r\n"),
        ("success too early", "S: 250 2.0.0 fine\nUNENDED", UNEXPECTED),
        ("no reply", "S: fine\nUNENDED", UNEXPECTED),
        ("hung up", "", LOST),
        ("reset", "RESET", LOST),
    ];
    for (claim, end, wanted) in rows {
        let peer =
            Peer::play(claim, SMTP, &[&format!("OPEN\nMAIL\nRCPT\nC: DATA\nS: 354 go\nPART\n{end}")]).await;
        let mut session = Session::new(&behind(&peer, SMTP));
        session.say(RCPT).await;
        assert_eq!(session.deliver(&lines).await.to_string(), wanted, "{claim}");
        session.transport.close().await;
        peer.finish().await;
    }
}

#[tokio::test]
async fn a_reply_to_a_message_that_was_never_ended_is_no_delivery() {
    // The reply is there before the message is; in the first row, so is the end of the connection.
    for end in ["", "UNENDED"] {
        let script = format!("OPEN\nMAIL\nRCPT\nC: DATA\nS! 354 go\\r\\n552 no\\r\\n\n{end}");
        let peer = Peer::play("an early reply", SMTP, &[&script]).await;
        let mut session = Session::new(&behind(&peer, SMTP));
        session.say(RCPT).await;
        assert_eq!(session.deliver(&[MESSAGE]).await.to_string(), "552 5.0.0 no\r\n");
        session.transport.close().await;
        peer.finish().await;
    }
}

#[tokio::test]
async fn a_sender_that_left_before_the_final_dot_sends_nothing() {
    let peer = Peer::play("gone", SMTP, &["OPEN\nMAIL\nRCPT\nEOF"]).await;
    let mut session = Session::new(&behind(&peer, SMTP));
    session.say(RCPT).await;
    let reply = session.transport.deliver(&outgoing(&[MESSAGE]), ready(())).await;
    assert_eq!(reply.to_string(), LOST);
    session.transport.close().await;
    peer.finish().await;
}

#[tokio::test]
async fn a_sender_that_leaves_after_the_final_dot_is_waited_for_in_vain() {
    let script = "OPEN\nMAIL\nRCPT\nC: DATA\nS: 354 go\nMESSAGE\nS: 250 2.0.0 queued\nQUIT";
    let peer = Peer::play("gone late", SMTP, &[script]).await;
    let mut session = Session::new(&behind(&peer, SMTP));
    session.say(RCPT).await;
    let reply = session.transport.deliver(&outgoing(&[MESSAGE]), peer.message_came()).await;
    assert_eq!(reply.to_string(), "250 2.0.0 queued\r\n");
    session.transport.close().await;
    assert_eq!(peer.finish().await.len(), 1);
}
