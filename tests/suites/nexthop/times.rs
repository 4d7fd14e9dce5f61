//! Claims about time: nothing that the mail server behind does, or does not do, holds a session for
//! ever.

use std::{
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    time::Duration,
};

use sixgate::nexthop::Address;
use socket2::SockRef;
use tokio::{io::AsyncWriteExt as _, time::Instant};

use crate::{
    LMTP, SMTP, Session, TOO_SLOW, UNAVAILABLE, WAYS, Way, behind, next_hop,
    peer::{Clock, Peer, unix},
};

/// Plays `script` in each way until it stops answering; the last of `session` is what has to end,
/// after `seconds`.
async fn ends_after(claim: &str, script: &str, session: &[&str], wanted: &str, seconds: u64) {
    for way in WAYS {
        ends_by(way, claim, script, session, wanted, seconds).await;
    }
}

async fn ends_by(way: Way, claim: &str, script: &str, session: &[&str], wanted: &str, seconds: u64) {
    let end = if wanted.starts_with("250") { "EOF-ANY" } else { "PASS-ON" };
    let peer = Peer::play(claim, way, &[&format!("{script}\n{end}")]).await;
    let mut visit = Session::new(&behind(&peer, way));
    let (last, before) = session.split_last().expect("a command");
    for command in before {
        visit.say(command).await;
    }
    let start = Instant::now();
    let (reply, elapsed) = if *last == "QUIT" {
        visit.transport.close().await;
        (None, start.elapsed())
    } else {
        let reply = visit.say(last).await;
        let elapsed = start.elapsed();
        drop(visit);
        (reply, elapsed)
    };
    // Time passes in steps of a second.
    assert!(
        elapsed.abs_diff(Duration::from_secs(seconds)) < Duration::from_secs(2),
        "{claim}, {way:?}: {elapsed:?} instead of {seconds} s"
    );
    assert_eq!(reply.map(|reply| reply.to_string()).unwrap_or_default(), wanted, "{claim}, {way:?}");
    peer.finish().await;
}

#[tokio::test(start_paused = true)]
async fn opening_and_recipient_take_two_minutes_at_most() {
    let _clock = Clock::held();
    let slow = "PASS 50\nOPEN\nC: MAIL FROM:<a@sender.example>\nPASS 50\nS: 250 Ok\nC: RCPT TO:<b@d.example>";
    let dripping = format!("GREET{}", "\nS: 250-x\nPASS 9".repeat(13));
    let rows = [
        ("no greeting", "", UNAVAILABLE),
        ("no answer to EHLO", "GREET", UNAVAILABLE),
        ("lines that drip", &dripping, UNAVAILABLE),
        ("octets that drip", "S! 2\nPASS 70\nS! 2\nPASS 49\nS! 0", UNAVAILABLE),
        ("no answer to MAIL", "OPEN\nC: MAIL FROM:<a@sender.example>", TOO_SLOW),
        ("no answer to RCPT", "OPEN\nMAIL\nC: RCPT TO:<b@d.example>", TOO_SLOW),
        ("slow answers to all of them", slow, TOO_SLOW),
    ];
    for (claim, script, wanted) in rows {
        ends_after(claim, script, &["RCPT TO:<b@d.example>"], wanted, 120).await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_wait_after_that_has_its_end() {
    let _clock = Clock::held();
    let rcpt = "RCPT TO:<b@d.example>";
    let open = "OPEN\nMAIL\nRCPT\n";
    let refused = "C: RCPT TO:<b@d.example>\nS: 450 later\n";
    let later = format!("OPEN\nMAIL\n{refused}C: RCPT TO:<b@d.example>");
    ends_after("no answer to a later RCPT", &later, &[rcpt, rcpt], TOO_SLOW, 120).await;
    let rows: [(&str, &str, &[&str], &str, u64); 6] = [
        ("no answer to DATA", "C: DATA", &[rcpt, "DATA"], TOO_SLOW, 120),
        ("no final reply", "C: DATA\nS: 354 go\nMESSAGE", &[rcpt, "DATA"], TOO_SLOW, 600),
        (
            "half a final reply",
            "C: DATA\nS: 354 go\nMESSAGE\nPASS 300\nS: 250-a",
            &[rcpt, "DATA"],
            TOO_SLOW,
            600,
        ),
        (
            "a late final reply",
            "C: DATA\nS: 354 go\nMESSAGE\nPASS 599\nS: 250 Ok",
            &[rcpt, "DATA"],
            "250 2.0.0 Ok\r\n",
            599,
        ),
        ("no answer to RSET", "C: RSET", &[rcpt, "RSET"], "", 10),
        ("no answer to QUIT", "C: QUIT", &[rcpt, "QUIT"], "", 5),
    ];
    for (claim, script, session, wanted, seconds) in rows {
        ends_after(claim, &format!("{open}{script}"), session, wanted, seconds).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_next_hop_that_takes_nothing_in_is_given_up() {
    let _clock = Clock::held();
    let line = [[b'x'; 998].as_slice(), b"\r\n"].concat().repeat(100);
    let lines = vec![line.as_slice(); 1000];
    for way in WAYS {
        let script = "OPEN\nMAIL\nRCPT\nC: DATA\nS: 354 go\nPASS 700";
        let peer = Peer::play("it does not read", way, &[script]).await;
        let mut session = Session::new(&behind(&peer, way));
        session.say("RCPT TO:<b@d.example>").await;
        let start = Instant::now();
        assert_eq!(session.deliver(&lines).await.to_string(), TOO_SLOW);
        let minutes = start.elapsed().as_secs() / 60;
        assert!((3..=10).contains(&minutes), "{way:?}: {minutes} minutes");
        peer.abandon();
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_opening_is_not_tried_again_for_each_recipient() {
    let _clock = Clock::held();
    let peer = Peer::play("once", SMTP, &["PASS-ON", "OPEN\nMAIL\nRCPT\nRSET\nQUIT"]).await;
    let mut session = Session::new(&behind(&peer, SMTP));
    let start = Instant::now();
    for _ in 0..100 {
        let reply = session.say("RCPT TO:<b@d.example>").await.expect("a reply");
        assert_eq!(reply.to_string(), UNAVAILABLE);
    }
    assert!(start.elapsed().as_secs() <= 121);
    session.say("RSET").await;
    let reply = session.say("RCPT TO:<b@d.example>").await.expect("a reply");
    assert_eq!(reply.code(), 250, "the next transaction tries again");
    session.say("RSET").await;
    session.transport.close().await;
    peer.finish().await;
}

/// A socket with a connection in its queue that no server has accepted, and no slot for another.
fn crowded(folder: &Path) -> (UnixListener, UnixStream, Address) {
    let path = folder.join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    SockRef::from(&listener).listen(0).expect("a short queue");
    let first = UnixStream::connect(&path).expect("room for one");
    (listener, first, unix(&path))
}

#[tokio::test(start_paused = true)]
async fn a_socket_whose_queue_stays_full_is_given_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_listener, _first, address) = crowded(folder.path());
    let mut session = Session::new(&next_hop(LMTP, address));
    let start = Instant::now();
    let reply = session.say("RCPT TO:<b@d.example>").await.expect("a reply");
    assert_eq!(reply.to_string(), UNAVAILABLE);
    assert_eq!(start.elapsed().as_secs(), 120);
}

#[tokio::test]
async fn a_socket_whose_queue_is_full_is_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (listener, _first, address) = crowded(folder.path());
    listener.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::UnixListener::from_std(listener).expect("a socket");
    let mut session = Session::new(&next_hop(LMTP, address));
    let (reply, ()) = tokio::join!(session.say("RCPT TO:<b@d.example>"), async {
        // it is full when the session comes: this is polled after that
        listener.accept().await.expect("the first connection");
        let (mut second, _) = listener.accept().await.expect("the session's connection");
        second.write_all(b"554 heard\r\n").await.expect("a client");
    });
    assert_eq!(reply.expect("a reply").to_string(), UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn a_probe_waits_as_long_as_a_session() {
    let _clock = Clock::held();
    for script in ["PASS-ON", "S: 220 a\nC: EHLO gate.example\nPASS-ON"] {
        let peer = Peer::play("a probe", SMTP, &[script]).await;
        let start = Instant::now();
        behind(&peer, SMTP).probe().await.expect_err("it is too slow");
        assert!((118..=121).contains(&start.elapsed().as_secs()), "{script}");
        peer.finish().await;
    }
}
