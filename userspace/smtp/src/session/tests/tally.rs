//! The commands and messages of a session, by the replies that they got.

use super::{NOT_OPTED_IN, pair::Pair};
use crate::session::{Admission, CommandName, Tally};

fn tally(total: u32, accepted: u32, deferred: u32, rejected: u32) -> Tally {
    Tally { total, accepted, deferred, rejected }
}

#[test]
fn each_command_counts_by_its_reply() {
    let mut pair = Pair::new(Admission::Serve);
    pair.say(b"ehlo a\r\nHELO\r\nAUTH PLAIN\r\nx\r\nRSET\r\n");
    pair.say(b"MAIL FROM:<>\r\nRCPT TO:<u@a.example>\r\nRCPT TO:<bad@a.example>\r\nDATA\r\n");
    pair.say(b"Subject: x\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<u@a.example>\r\nBDAT 2\r\n\r\n");
    pair.say(b"BDAT 6 LAST\r\nspam\r\nQUIT\r\n");
    let counted = pair.session.tally();
    for (name, wanted) in [
        (CommandName::Ehlo, tally(1, 1, 0, 0)),
        (CommandName::Helo, tally(1, 0, 0, 1)),
        (CommandName::Auth, tally(1, 0, 0, 1)),
        (CommandName::Unknown, tally(1, 0, 0, 1)),
        (CommandName::Rset, tally(1, 1, 0, 0)),
        (CommandName::Mail, tally(2, 2, 0, 0)),
        (CommandName::Rcpt, tally(3, 2, 0, 1)),
        (CommandName::Data, tally(1, 1, 0, 0)),
        (CommandName::Bdat, tally(2, 1, 1, 0)),
        (CommandName::Quit, tally(1, 1, 0, 0)),
        (CommandName::Noop, tally(0, 0, 0, 0)),
    ] {
        assert_eq!(counted.of(name), wanted, "{}", name.name());
    }
    assert_eq!(counted.messages, tally(2, 1, 1, 0));
    assert_eq!(counted.octets, 12 + 3 + 8);
    assert_eq!(counted.all().total, 14);
}

#[test]
fn a_message_that_is_given_up_is_data_that_failed_or_has_no_reply() {
    let mut pair = Pair::in_data();
    pair.say(b"Subject: x\r\n\n");
    assert_eq!(pair.session.tally().of(CommandName::Data), tally(1, 0, 0, 1));
    let mut pair = Pair::in_data();
    pair.say(b"Subject");
    pair.session.handle_end_of_input();
    assert_eq!(pair.session.tally().of(CommandName::Data), tally(1, 0, 0, 0));
    assert_eq!(pair.session.tally().octets, 7);
    assert_eq!(pair.session.tally().messages, tally(0, 0, 0, 0));
}

#[test]
fn the_commands_of_a_refused_session_count_too() {
    let mut pair = Pair::new(NOT_OPTED_IN);
    pair.say(b"EHLO mail.a.example\r\nMAIL FROM:<>\r\nRCPT TO:<u@a.example>\r\nQUIT\r\n");
    let counted = pair.session.tally();
    assert_eq!(counted.of(CommandName::Rcpt), tally(1, 0, 0, 1));
    assert_eq!(counted.all(), tally(4, 3, 0, 1));
    assert_eq!(pair.session.refused().hello, b"mail.a.example");
}
