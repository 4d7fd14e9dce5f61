//! What ends by the clock, and what puts it off.

use std::time::Duration;

use super::Pair;
use crate::smtp::{
    reply::Say,
    session::{Admission, Task, obey::IDLE_COMMANDS_MAX},
};

#[test]
fn a_silent_client_hears_why_it_is_dropped() {
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
    assert_eq!(pair.session.poll_reached(), [Say::TooSlow]);
    assert!(pair.session.is_closing());
}

#[test]
fn the_time_that_keeping_takes_is_not_the_senders() {
    let mut pair = Pair::in_data();
    pair.session.handle_input(pair.now, b"Subject: x\r\n");
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
}

#[test]
fn a_stopping_daemon_lets_the_message_under_way_finish() {
    let mut pair = Pair::in_data();
    pair.session.handle_shutdown();
    assert!(!pair.session.is_closing());
    let heard = pair.say(b"x\r\n.\r\n");
    assert_eq!(heard, "250 2.0.0 queued\r\n421 4.3.2 gate.example Service is shutting down\r\n");
    let mut idle = Pair::new(Admission::Serve);
    idle.hear();
    idle.session.handle_shutdown();
    assert_eq!(idle.hear(), "421 4.3.2 gate.example Service is shutting down\r\n");
}
