//! Whether the XDP program can say every refusing reply with our host name in it: it writes a reply into the very frame
//! that it answers, which can grow by [`GROWTH_MAX`] octets only.
//!
//! It owns the shortest input that each reply answers; the texts are the reply table's.

use sixgate_common::{address, refuse::ReplyId, reply::GROWTH_MAX};

use crate::smtp::reply::ReplyTable;

/// The longest host name with which every reply fits, in octets, if `hostname` is longer.
pub(super) fn longest_name(hostname: &str) -> Option<usize> {
    // the size limit is announced after EHLO: the longest one is taken
    let table = ReplyTable::new(hostname, u64::from(u32::MAX));
    let growth = |id| table.refusing(id, longest_subject(id)).to_string().len() - shortest_input(id).len();
    let most = ReplyId::ALL.into_iter().map(growth).max().unwrap_or_default();
    // a name is said once in a reply, and a reply without it is short
    most.checked_sub(GROWTH_MAX)
        .filter(|excess| *excess > 0)
        .map(|excess| hostname.len().saturating_sub(excess))
}

/// What is inserted at most beyond what stands in the input: a domain is copied from there.
const fn longest_subject(id: ReplyId) -> &'static str {
    const ADDRESS: &str = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    const _: () = assert!(ADDRESS.len() == address::TEXT_MAX);
    match id {
        ReplyId::GreetingRefused | ReplyId::NotOptedIn | ReplyId::NoPtr => ADDRESS,
        _ => "",
    }
}

/// The shortest payload of a segment that a reply answers. It has every line from its beginning: the program takes none
/// in parts.
const fn shortest_input(id: ReplyId) -> &'static [u8] {
    match id {
        // the acknowledgement that completes the handshake
        ReplyId::Greeting | ReplyId::GreetingRefused => b"",
        ReplyId::Ehlo => b"EHLO x\r\n",
        ReplyId::Helo => b"HELO x\r\n",
        ReplyId::NoName => b"EHLO\r\n",
        ReplyId::Mail => b"MAIL FROM:\r\n",
        ReplyId::NotOptedIn | ReplyId::NoPtr => b"RCPT TO:\r\n",
        ReplyId::NoRecipients => b"DATA\r\n",
        ReplyId::Rset => b"RSET\r\n",
        ReplyId::Noop => b"NOOP\r\n",
        ReplyId::Vrfy => b"VRFY\r\n",
        ReplyId::Help => b"HELP\r\n",
        ReplyId::Quit => b"QUIT\r\n",
        ReplyId::NotOffered => b"AUTH\r\n",
        ReplyId::Syntax => b"MAIL\r\n",
        // the end of a long line
        ReplyId::TooLong => b"\r\n",
        ReplyId::BadSequence | ReplyId::Unknown | ReplyId::TooManyCommands => b"\r\n",
        ReplyId::BareLineEnd => b"\n",
    }
}

#[cfg(test)]
mod tests {
    use sixgate_common::{
        line::{self, Cut},
        refuse::{COMMANDS_MAX, Phase, Reason, Verb, open, step},
        settings::{REFUSE_AT_GREETING, REFUSE_AT_RCPT},
    };

    use super::*;

    /// Every reply to `input`, at any point of a session.
    fn replies(input: &[u8]) -> Vec<ReplyId> {
        let verbs = [false, true].map(|skipping| match line::cut(input, 0, input.len(), skipping) {
            Cut::Line(length) => Some(line::verb(input, 0, length)),
            Cut::TooLong(_) => Some(Verb::TooLong),
            Cut::BareLineEnd => Some(Verb::BareLineEnd),
            Cut::Incomplete | Cut::Skipped(_) => None,
        });
        let mut found = Vec::new();
        for reason in [Reason::NotOptedIn, Reason::NoPtr] {
            if input.is_empty() {
                found.extend([REFUSE_AT_RCPT, REFUSE_AT_GREETING].map(|at| open(reason, at).reply));
            }
            for phase in [Phase::Connected, Phase::Greeted, Phase::Mail, Phase::Rejected] {
                for commands in [0, COMMANDS_MAX] {
                    let steps = verbs.into_iter().flatten().map(|verb| step(reason, phase, verb, commands));
                    found.extend(steps.map(|step| step.reply));
                }
            }
        }
        found
    }

    #[test]
    fn each_reply_answers_its_shortest_input() {
        for id in ReplyId::ALL {
            let input = shortest_input(id);
            assert!(replies(input).contains(&id), "{id:?} to {:?}", input.escape_ascii().to_string());
        }
    }

    #[test]
    fn the_longest_name_that_is_named_fits_and_the_next_one_does_not() {
        let name = |length: usize| format!("{}.example", "a".repeat(length - ".example".len()));
        let longest = longest_name(&name(200)).unwrap();
        assert_eq!(longest, 114, "the refusing greeting decides");
        assert_eq!(longest_name(&name(longest)), None);
        assert_eq!(longest_name(&name(longest + 1)), Some(longest));
    }
}
