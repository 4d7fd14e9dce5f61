//! A whole session without IO: for any input and any answers, each command and each message has
//! one reply, in order and well formed; messages that are handed on were accepted; the pieces of
//! the input change nothing.
//!
//! Policy, DNS and the next hop are played by the script: they are not tried here.

#![no_main]

#[path = "session/answers.rs"]
mod answers;
#[path = "session/client.rs"]
mod client;
#[path = "session/dialogue.rs"]
mod dialogue;

use libfuzzer_sys::fuzz_target;
use sixgate_common::{
    refuse::Reason,
    settings::{REFUSE_AT_GREETING, REFUSE_AT_RCPT},
};
use sixgate_fuzz::script;
use sixgate_smtp::session::Admission;

use client::Client;

fuzz_target!(|input: &[u8]| {
    let (mut script, stream) = script::split(input);
    let admission = admission(script.choose());
    let whole = Client::new(admission, script.clone()).send(stream, |_| usize::MAX);
    let cut = Client::new(admission, script.clone()).send(stream, |cuts| cuts.length(PIECE_MAX));
    // of two reasons against a message the first to be found is reported
    if !stream.contains(&b'!') {
        assert_eq!(cut.received.escape_ascii().to_string(), whole.received.escape_ascii().to_string());
    }
    assert_eq!(cut.messages, whole.messages);
    cut.is_in_step(stream);
    whole.is_in_step(stream);
});

/// How the session is met.
fn admission(choice: u8) -> Admission {
    let (reason, refuse_at) = match choice {
        b'a' => (Reason::NotOptedIn, REFUSE_AT_RCPT),
        b'g' => (Reason::NotOptedIn, REFUSE_AT_GREETING),
        b'n' => (Reason::NoPtr, REFUSE_AT_RCPT),
        _ => return Admission::Serve,
    };
    Admission::Refuse { reason, refuse_at }
}

const PIECE_MAX: usize = 60;
