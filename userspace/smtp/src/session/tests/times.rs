//! What ends by the clock, and what puts it off.

use std::time::Duration;

use super::pair::Pair;
use crate::{
    reply::ReplyKind,
    session::{Admission, Event, Task, commands::IDLE_COMMANDS_MAX},
};

#[test]
fn a_silent_client_gets_the_reason_before_it_is_dropped() {
    let mut pair = Pair::new(Admission::Serve);
    pair.hear();
    let timeout = pair.session.poll_timeout().unwrap();
    assert_eq!(timeout, pair.now + Duration::from_secs(300));
    pair.session.handle_timeout(timeout - Duration::from_millis(1));
    assert_eq!(pair.hear(), "");
    pair.session.handle_timeout(timeout);
    assert_eq!(pair.hear(), "421 4.4.2 gate.example Time-out waiting for input\r\n");
    assert!(pair.session.is_closing());
}

#[test]
fn octets_of_a_command_do_not_put_its_time_off() {
    let mut pair = Pair::new(Admission::Serve);
    let timeout = pair.session.poll_timeout();
    pair.now += Duration::from_secs(299);
    pair.say(b"NO");
    assert_eq!(pair.session.poll_timeout(), timeout);
    pair.say(b"OP\r\n");
    assert_eq!(pair.session.poll_timeout(), Some(pair.now + Duration::from_secs(300)));
}

#[test]
fn a_message_has_to_keep_a_pace() {
    let mut pair = Pair::in_data();
    // 100 octets in a second, and 180 seconds of grace
    for _ in 0..2 {
        pair.now += Duration::from_secs(90);
        pair.say(&[b'x'; 50]);
    }
    assert_eq!(pair.session.poll_timeout(), Some(pair.now + Duration::from_secs(1)));
    pair.now += Duration::from_secs(1);
    pair.session.handle_timeout(pair.now);
    assert_eq!(pair.hear(), "421 4.4.2 gate.example The message arrives too slowly\r\n");
    assert_eq!(pair.events(), [Event::Session(ReplyKind::TooSlow)]);
    assert!(pair.session.is_closing());
}

#[test]
fn the_time_that_keeping_takes_is_not_the_senders() {
    let mut pair = Pair::in_data();
    pair.receive(b"Subject: x\r\n");
    let Some(Task::Content(_)) = pair.session.poll_task() else { panic!("a piece") };
    assert_eq!(pair.session.poll_timeout(), None);
    let later = pair.now + Duration::from_secs(1000);
    pair.session.answer_content(later, Ok(()));
    assert!(pair.session.poll_timeout().is_some_and(|timeout| timeout >= later + Duration::from_secs(180)));
}

#[test]
fn a_transaction_ends_in_time_even_if_something_always_happens() {
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"HELO a\r\nMAIL FROM:<>\r\n");
    for _ in 0..7 {
        pair.now += Duration::from_secs(250);
        pair.say(b"RCPT TO:<bad@contoso.com>\r\n");
    }
    pair.now += Duration::from_secs(50);
    pair.session.handle_timeout(pair.now);
    assert_eq!(pair.hear(), "421 4.4.2 gate.example The transaction takes too long\r\n");
    assert_eq!(pair.abandoned, 0, "not yet told");
    assert!(matches!(pair.session.poll_task(), Some(Task::Abandon)));
}

#[test]
fn a_chatty_client_cannot_stay_for_ever() {
    let mut pair = Pair::new(Admission::Serve);
    pair.now += Duration::from_secs(3599);
    pair.say(b"NOOP\r\n");
    assert_eq!(pair.session.poll_timeout(), Some(pair.now + Duration::from_secs(1)));
    let heard = pair.say(&b"NOOP\r\n".repeat(IDLE_COMMANDS_MAX as usize));
    assert!(heard.ends_with("421 4.7.0 gate.example Too many commands\r\n"), "{heard}");

    let mut pair = Pair::new(Admission::Serve);
    pair.now += Duration::from_secs(3599);
    pair.say(b"NOOP\r\n");
    pair.now += Duration::from_secs(1);
    pair.session.handle_timeout(pair.now);
    assert_eq!(pair.hear(), "421 4.4.2 gate.example The session takes too long\r\n");
}

#[test]
fn silence_is_no_slowness() {
    for (pause, wanted) in [(180, "Time-out waiting for input"), (90, "The message arrives too slowly")] {
        let mut pair = Pair::in_data();
        let mut heard = String::new();
        while heard.is_empty() {
            pair.say(b"x");
            pair.now += Duration::from_secs(pause);
            pair.session.handle_timeout(pair.now);
            heard = pair.hear();
        }
        assert_eq!(heard, format!("421 4.4.2 gate.example {wanted}\r\n"), "{pause}");
    }
}

#[test]
fn what_comes_fast_buys_no_time_for_what_comes_slowly() {
    let mut pair = Pair::in_data();
    let begun = pair.now;
    // nine seconds' worth at once, in a message that is within its size
    pair.say(&b"0123456\r\n".repeat(100));
    pair.now += Duration::from_secs(170);
    pair.say(b"x");
    assert_eq!(pair.session.poll_timeout(), Some(begun + Duration::from_millis(180_010)));
}

#[test]
fn a_message_in_chunks_has_to_keep_the_pace_however_small_they_are() {
    for (size, pause) in [(0, 10), (16, 10), (24, 60), (10, 0)] {
        let mut pair = Pair::with_recipient();
        let mut heard = String::new();
        for _ in 0..40 {
            heard += &pair.say(&[format!("BDAT {size}\r\n").as_bytes(), &vec![b'x'; size]].concat());
            pair.now += Duration::from_secs(pause);
            pair.session.handle_timeout(pair.now);
            heard += &pair.hear();
        }
        // 100 octets in a second are asked for
        let slow = size < usize::try_from(pause).unwrap() * 100;
        let told = heard.ends_with("421 4.4.2 gate.example The message arrives too slowly\r\n");
        assert_eq!((pair.session.is_closing(), told), (slow, slow), "{size} in {pause} s: {heard}");
    }
}

#[test]
fn a_stopping_daemon_finishes_the_message_under_way_and_begins_no_other() {
    let begun = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\n";
    let over = "421 4.3.2 gate.example Service is shutting down\r\n";
    // sent before the stop; after it; the codes of the replies before 421
    let rows: [(&str, &str, &str); 12] = [
        ("", "", ""),
        ("EHLO a\r\n", "", ""),
        (begun, "", ""),
        ("EHLO a\r\nNO", "", ""),
        (&format!("{begun}DATA\r\n"), "x\r\n.\r\n", "250"),
        (&format!("{begun}DATA\r\n"), "spam\r\n.\r\nNOOP\r\n", "450"),
        (&format!("{begun}DATA\r\n"), &format!("{}.\r\n", "0123456\r\n".repeat(200)), "552"),
        (&format!("{begun}BDAT 6\r\n"), "abcd\r\nBDAT 4 LAST\r\ngh\r\nNOOP\r\n", "250 250"),
        (&format!("{begun}BDAT 6\r\nabcd\r\n"), "BDAT 4 LAST\r\ngh\r\n", "250"),
        (&format!("{begun}BDAT 6\r\nabcd\r\n"), "RSET\r\n", "250"),
        (&format!("{begun}BDAT 6\r\nabcd\r\n"), &format!("BDAT 2000\r\n{}", "x".repeat(2000)), "552"),
        ("EHLO a\r\nBDAT 6\r\n", "abcd\r\n", "503"),
    ];
    for (before, after, wanted) in rows {
        let mut pair = Pair::new(Admission::Serve);
        pair.hear();
        pair.say(before.as_bytes());
        pair.session.handle_shutdown();
        let heard = pair.say(after.as_bytes());
        let codes: Vec<&str> = heard.lines().map(|line| &line[..3]).collect();
        assert_eq!(codes.join(" "), format!("{wanted} 421").trim(), "{before:?}, {after:?}");
        assert!(heard.ends_with(over) && pair.session.is_closing(), "{before:?}, {after:?}: {heard}");
    }
}
