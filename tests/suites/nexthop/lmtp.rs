//! Claims about LMTP (RFC 2033) where it differs from SMTP: its opening, and its one recipient for
//! each transaction.

use sixgate::nexthop::ClientIdentity;

use crate::{LMTP, LOST, Row, Socket, UNAVAILABLE, Way, play_by};

const RCPT: &str = "RCPT TO:<b@d.example>";
const OTHER: &str = "RCPT TO:<c@d.example>";
const ACCEPTED: (&str, &str) = (RCPT, "250 2.1.5 Ok\r\n");
const QUEUED: (&str, &str) = ("DATA", "250 2.0.0 queued\r\n");
const ONE: (&str, &str) =
    (OTHER, "452 4.5.3 One recipient for each transaction, please send again to the others\r\n");

/// Plays each row over TCP and over a Unix socket.
async fn play(client: ClientIdentity, rows: &[Row<'_>]) {
    for socket in [Socket::Tcp, Socket::Unix] {
        play_by(Way { socket, client, ..LMTP }, rows).await;
    }
}

#[tokio::test]
async fn a_transaction_has_one_recipient() {
    let other = "MAIL\nC: RCPT TO:<c@d.example>\nS: 250 2.1.5 Ok\nDATA\nQUIT";
    let (taken, whole) = ((OTHER, "250 2.1.5 Ok\r\n"), "OPEN\nMAIL\nRCPT\nDATA\nQUIT");
    let rows = [
        Row("the second hears so", &[whole], &[ACCEPTED, ONE, ONE, QUEUED]),
        Row(
            "and comes back",
            &[&format!("OPEN\nMAIL\nRCPT\nDATA\n{other}")],
            &[ACCEPTED, ONE, QUEUED, taken, QUEUED],
        ),
        Row(
            "after RSET, too",
            &[&format!("OPEN\nMAIL\nRCPT\nRSET\n{other}")],
            &[ACCEPTED, ONE, ("RSET", ""), taken, QUEUED],
        ),
        Row("the same one twice is two", &[whole], &[ACCEPTED, (RCPT, ONE.1), QUEUED]),
        Row(
            "a refused one does not count",
            &["OPEN\nMAIL\nC: RCPT TO:<c@d.example>\nS: 550 5.1.1 who\nRCPT\nDATA\nQUIT"],
            &[(OTHER, "550 5.1.1 who\r\n"), ACCEPTED, ONE, QUEUED],
        ),
        Row(
            "a lost one does not count",
            &["OPEN\nMAIL\nC: RCPT TO:<c@d.example>", whole],
            &[(OTHER, LOST), ACCEPTED, ONE, QUEUED],
        ),
    ];
    play(ClientIdentity::None, &rows).await;
}

#[tokio::test]
async fn the_recipients_reply_is_the_messages() {
    let end = |replies: &str| format!("OPEN\nMAIL\nRCPT\nC: DATA\nS: 354 go\nMESSAGE\n{replies}");
    let again = "OPEN\nMAIL\nRCPT\nQUIT";
    let rows = [
        Row(
            "refused",
            &[&end("S: 552 5.2.2 over quota\nQUIT")],
            &[ACCEPTED, ("DATA", "552 5.2.2 over quota\r\n")],
        ),
        Row("none comes", &[&end(""), again], &[ACCEPTED, ("DATA", LOST), ACCEPTED]),
        Row(
            "one too many",
            &[&end("S! 250 2.0.0 a\\r\\n250 2.0.0 b\\r\\n\nEOF-ANY"), again],
            &[ACCEPTED, ("DATA", "250 2.0.0 a\r\n"), ACCEPTED],
        ),
        Row(
            "success after a refusal",
            &[&end("S! 452 4.2.2 a\\r\\n250 2.0.0 b\\r\\n\nEOF-ANY"), again],
            &[ACCEPTED, ("DATA", "452 4.2.2 a\r\n"), ACCEPTED],
        ),
        Row(
            "a refusal after success",
            &[&end("S! 250 2.0.0 a\\r\\n550 5.0.0 b\\r\\n\nEOF-ANY"), again],
            &[ACCEPTED, ("DATA", "250 2.0.0 a\r\n"), ACCEPTED],
        ),
    ];
    play(ClientIdentity::None, &rows).await;
}

#[tokio::test]
async fn a_next_hop_that_does_not_know_lhlo_is_not_available() {
    let rows = [
        Row("it speaks SMTP", &["S: 220 a\nHELLO\nS: 500 5.5.1 what\nEOF"], &[(RCPT, UNAVAILABLE)]),
        Row("it says so", &["S: 220 a\nHELLO\nS: 502 5.5.1 no\nEOF"], &[(RCPT, UNAVAILABLE)]),
    ];
    play(ClientIdentity::None, &rows).await;
}

#[tokio::test]
async fn xclient_needs_no_name() {
    let offers = |attributes: &str| format!("S: 220 a\nHELLO\nS: 250-mx\nS: 250 XCLIENT {attributes}\n");
    // as Dovecot offers it
    let told = offers("ADDR PORT TTL TIMEOUT")
        + "C: XCLIENT PORT=40000 ADDR=IPV6:2001:db8::1\nS: 220 a\nC: EHLO helo.sender.example\nS: 250 mx\n\
           MAIL\nRCPT\nDATA\nQUIT";
    let rows = [
        Row("the address is enough", &[&told], &[ACCEPTED, QUEUED]),
        Row("the name is not", &[&(offers("NAME PORT") + "EOF")], &[(RCPT, UNAVAILABLE)]),
    ];
    play(ClientIdentity::Xclient, &rows).await;
}
