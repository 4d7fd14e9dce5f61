//! The refusing dialogue (RFC 5321) as one pure table: verb by phase to reply and next phase, for the
//! kernel and for the daemon alike.
//!
//! It owns no text: replies are numbers here, and become octets in user space's reply table. It keeps
//! no input either: whoever calls cuts the lines.

use crate::flow::{REASON_NO_PTR, REASON_NOT_OPTED_IN};
use crate::settings::REFUSE_AT_GREETING;

/// Commands that one refused session may send; the next one hears [`ReplyId::TooManyCommands`].
pub const COMMANDS_MAX: u16 = 60;
/// Longest command line, CRLF included (RFC 5321 4.5.3.1.4).
pub const LINE_MAX: usize = 512;
/// Longest MAIL line, CRLF included: what SIZE (RFC 1870 3), 8BITMIME (RFC 6152 2) and SMTPUTF8
/// (RFC 6531 3.1) add to [`LINE_MAX`].
pub const MAIL_LINE_MAX: usize = LINE_MAX + 26 + 17 + 10;
/// Longest domain name, in octets (RFC 1035 2.3.4, without the root's length octet).
pub const DOMAIN_MAX: usize = 253;
const LABEL_MAX: usize = 63;

/// Why a session is refused from its first packet.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The destination address has not opted in.
    NotOptedIn = REASON_NOT_OPTED_IN,
    /// The sending address has no PTR record.
    NoPtr = REASON_NO_PTR,
}

/// How far a refused session is. Numbers are stored in [`crate::flow::Flow::phase`]; 0 is a tag.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// The 220 greeting was sent.
    Connected = 1,
    /// EHLO or HELO was accepted.
    Greeted = 2,
    /// MAIL was accepted.
    Mail = 3,
    /// The 554 greeting was sent: nothing but QUIT is answered otherwise than 503 (RFC 5321 3.1).
    Rejected = 4,
    /// The last reply was sent; the connection is closing.
    Closing = 5,
}

/// What a command line asks for.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// AUTH (RFC 4954): not offered.
    Auth,
    /// A line with a bare CR, a bare LF or a NUL in it.
    BareLineEnd,
    /// DATA.
    Data,
    /// EHLO with a name.
    Ehlo,
    /// HELO with a name.
    Helo,
    /// HELP.
    Help,
    /// MAIL FROM:.
    Mail,
    /// EHLO or HELO without a name.
    NoName,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// RCPT TO:.
    Rcpt,
    /// RSET.
    Rset,
    /// STARTTLS (RFC 3207): not offered to a refused session.
    StartTls,
    /// MAIL or RCPT without FROM: or TO:.
    Syntax,
    /// The line is longer than [`LINE_MAX`], or [`MAIL_LINE_MAX`] for MAIL.
    TooLong,
    /// Nothing of the above.
    Unknown,
    /// VRFY or EXPN.
    Vrfy,
}

/// A reply of the refusing dialogue: the index into REPLIES.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplyId {
    /// 220: the greeting.
    Greeting,
    /// 554: the greeting that refuses; the destination address is inserted.
    GreetingRefused,
    /// 250: EHLO with the extensions.
    Ehlo,
    /// 250: HELO.
    Helo,
    /// 501: EHLO or HELO without a name.
    NoName,
    /// 250: MAIL.
    Mail,
    /// 550 5.2.1: RCPT; the recipient's domain or the destination address is inserted.
    NotOptedIn,
    /// 450 4.7.25: RCPT; the source address is inserted.
    NoPtr,
    /// 554: DATA without an accepted recipient.
    NoRecipients,
    /// 503: a command out of order.
    BadSequence,
    /// 250: RSET.
    Rset,
    /// 250: NOOP.
    Noop,
    /// 252: VRFY.
    Vrfy,
    /// 214: HELP.
    Help,
    /// 221: QUIT.
    Quit,
    /// 502: a command that exists and is not offered.
    NotOffered,
    /// 501: MAIL or RCPT without its keyword.
    Syntax,
    /// 500: the line is too long.
    TooLong,
    /// 500: the command is unknown.
    Unknown,
    /// 421: [`COMMANDS_MAX`] is reached.
    TooManyCommands,
    /// 500: a bare CR, a bare LF or a NUL; what follows cannot be read reliably.
    BareLineEnd,
}

impl ReplyId {
    /// Every reply, in the order of its index.
    pub const ALL: [Self; 21] = [
        Self::Greeting,
        Self::GreetingRefused,
        Self::Ehlo,
        Self::Helo,
        Self::NoName,
        Self::Mail,
        Self::NotOptedIn,
        Self::NoPtr,
        Self::NoRecipients,
        Self::BadSequence,
        Self::Rset,
        Self::Noop,
        Self::Vrfy,
        Self::Help,
        Self::Quit,
        Self::NotOffered,
        Self::Syntax,
        Self::TooLong,
        Self::Unknown,
        Self::TooManyCommands,
        Self::BareLineEnd,
    ];
}

/// A reply and the phase that follows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// What is said.
    pub reply: ReplyId,
    /// Where the session is afterwards; [`Phase::Closing`]: nothing more is said.
    pub next: Phase,
}

/// The first words of a refused session. `refuse_at` is a number of [`crate::settings`]; it matters for
/// [`Reason::NotOptedIn`] only (no PTR is always said at RCPT).
#[must_use]
pub const fn open(reason: Reason, refuse_at: u32) -> Step {
    match reason {
        Reason::NotOptedIn if refuse_at == REFUSE_AT_GREETING => {
            Step { reply: ReplyId::GreetingRefused, next: Phase::Rejected }
        }
        Reason::NotOptedIn | Reason::NoPtr => Step { reply: ReplyId::Greeting, next: Phase::Connected },
    }
}

/// The answer to one command. `commands` counts those answered before this one.
#[must_use]
pub fn step(reason: Reason, phase: Phase, verb: Verb, commands: u16) -> Step {
    if matches!(verb, Verb::Quit) {
        return Step { reply: ReplyId::Quit, next: Phase::Closing };
    }
    if matches!(verb, Verb::BareLineEnd) {
        return Step { reply: ReplyId::BareLineEnd, next: Phase::Closing };
    }
    if commands >= COMMANDS_MAX {
        return Step { reply: ReplyId::TooManyCommands, next: Phase::Closing };
    }
    if matches!(phase, Phase::Rejected | Phase::Closing) {
        return Step { reply: ReplyId::BadSequence, next: phase };
    }
    let stay = |reply| Step { reply, next: phase };
    match verb {
        Verb::Ehlo => Step { reply: ReplyId::Ehlo, next: Phase::Greeted },
        Verb::Helo => Step { reply: ReplyId::Helo, next: Phase::Greeted },
        Verb::NoName => stay(ReplyId::NoName),
        Verb::Mail => match phase {
            Phase::Greeted => Step { reply: ReplyId::Mail, next: Phase::Mail },
            _ => stay(ReplyId::BadSequence),
        },
        Verb::Rcpt => match phase {
            Phase::Mail => stay(match reason {
                Reason::NotOptedIn => ReplyId::NotOptedIn,
                Reason::NoPtr => ReplyId::NoPtr,
            }),
            _ => stay(ReplyId::BadSequence),
        },
        Verb::Data => match phase {
            Phase::Mail => stay(ReplyId::NoRecipients),
            _ => stay(ReplyId::BadSequence),
        },
        Verb::Rset => match phase {
            Phase::Mail => Step { reply: ReplyId::Rset, next: Phase::Greeted },
            _ => stay(ReplyId::Rset),
        },
        Verb::Noop => stay(ReplyId::Noop),
        Verb::Vrfy => stay(ReplyId::Vrfy),
        Verb::Help => stay(ReplyId::Help),
        Verb::Auth | Verb::StartTls => stay(ReplyId::NotOffered),
        Verb::Syntax => stay(ReplyId::Syntax),
        Verb::TooLong => stay(ReplyId::TooLong),
        Verb::Unknown => stay(ReplyId::Unknown),
        // answered above
        Verb::BareLineEnd => Step { reply: ReplyId::BareLineEnd, next: Phase::Closing },
        Verb::Quit => Step { reply: ReplyId::Quit, next: Phase::Closing },
    }
}

/// The verb of a command line. `line` is without its CRLF; verbs are compared without regard to case
/// (RFC 5321 2.4). Arguments matter only where their absence does.
#[must_use]
pub fn verb(line: &[u8]) -> Verb {
    let end = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let known = |name: &[u8]| word.eq_ignore_ascii_case(name);
    let named = |yes| {
        if rest.iter().any(|octet| *octet != b' ') { yes } else { Verb::NoName }
    };
    let keyed = |keyword: &[u8], yes| match rest.get(1..1 + keyword.len()) {
        Some(found) if found.eq_ignore_ascii_case(keyword) => yes,
        _ => Verb::Syntax,
    };
    let limit = if known(b"MAIL") { MAIL_LINE_MAX } else { LINE_MAX };
    if line.len() + 2 > limit {
        Verb::TooLong
    } else if known(b"EHLO") {
        named(Verb::Ehlo)
    } else if known(b"HELO") {
        named(Verb::Helo)
    } else if known(b"MAIL") {
        keyed(b"FROM:", Verb::Mail)
    } else if known(b"RCPT") {
        keyed(b"TO:", Verb::Rcpt)
    } else if known(b"DATA") {
        Verb::Data
    } else if known(b"RSET") {
        Verb::Rset
    } else if known(b"NOOP") {
        Verb::Noop
    } else if known(b"VRFY") || known(b"EXPN") {
        Verb::Vrfy
    } else if known(b"HELP") {
        Verb::Help
    } else if known(b"QUIT") {
        Verb::Quit
    } else if known(b"STARTTLS") {
        Verb::StartTls
    } else if known(b"AUTH") {
        Verb::Auth
    } else {
        Verb::Unknown
    }
}

/// The recipient's domain in a `RCPT TO:` line: what stands between the last `@` outside quotes and the
/// `>` that ends the path, if it is a domain name. What is not a domain name is never echoed.
#[must_use]
pub fn recipient_domain(line: &[u8]) -> Option<&[u8]> {
    let (mut quoted, mut escaped, mut start) = (false, false, None);
    for (at, octet) in line.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'@' if !quoted => start = Some(at + 1),
            b'>' if !quoted => return line.get(start?..at).filter(|domain| is_domain_name(domain)),
            _ => {}
        }
    }
    None
}

/// Whether `text` is a domain name as RFC 5321 4.1.2 writes them: labels of letters, digits and inner
/// hyphens, separated by single dots.
#[must_use]
pub fn is_domain_name(text: &[u8]) -> bool {
    let (mut label, mut last) = (0, b'.');
    for octet in text {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {}
            b'-' if last != b'.' => {}
            b'.' if last != b'.' && last != b'-' => {
                (label, last) = (0, *octet);
                continue;
            }
            _ => return false,
        }
        label += 1;
        if label > LABEL_MAX {
            return false;
        }
        last = *octet;
    }
    text.len() <= DOMAIN_MAX && last != b'.' && last != b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reply_stands_at_its_own_index() {
        for (index, reply) in ReplyId::ALL.into_iter().enumerate() {
            assert_eq!(reply as usize, index);
        }
    }

    #[test]
    fn verbs_are_read_without_regard_to_case() {
        let mut longest_mail = [b'x'; MAIL_LINE_MAX - 2];
        longest_mail[..10].copy_from_slice(b"MAIL FROM:");
        for (line, wanted) in [
            (&b"EHLO a.example"[..], Verb::Ehlo),
            (b"ehlo a.example", Verb::Ehlo),
            (b"EHLO", Verb::NoName),
            (b"EHLO  ", Verb::NoName),
            (b"HELO a", Verb::Helo),
            (b"mail from:<a@b.example>", Verb::Mail),
            (b"MAIL  FROM:<a@b.example>", Verb::Syntax),
            (b"MAIL", Verb::Syntax),
            (b"RCPT TO:<a@b.example>", Verb::Rcpt),
            (b"RCPT <a@b.example>", Verb::Syntax),
            (b"DATA", Verb::Data),
            (b"DATAX", Verb::Unknown),
            (b"expn list", Verb::Vrfy),
            (b"quit ", Verb::Quit),
            (b"", Verb::Unknown),
            (&[b'x'; LINE_MAX - 2], Verb::Unknown),
            (&[b'x'; LINE_MAX - 1], Verb::TooLong),
            (&longest_mail, Verb::Mail),
        ] {
            assert_eq!(verb(line), wanted, "{line:?}");
        }
    }

    #[test]
    fn only_a_domain_name_is_taken_from_a_recipient() {
        for (line, wanted) in [
            (&b"RCPT TO:<user@contoso.com>"[..], Some(&b"contoso.com"[..])),
            (b"RCPT TO:<user@Contoso.COM> NOTIFY=NEVER", Some(b"Contoso.COM")),
            (b"RCPT TO:<@relay.example,@b.example:user@contoso.com>", Some(b"contoso.com")),
            (b"RCPT TO:<\"a@b>c\"@contoso.com>", Some(b"contoso.com")),
            (b"RCPT TO:<\"a\\\"@x\"@contoso.com>", Some(b"contoso.com")),
            (b"RCPT TO:<postmaster>", None),
            (b"RCPT TO:<user@[IPv6:2001:db8::1]>", None),
            (b"RCPT TO:<user@under_score.example>", None),
            (b"RCPT TO:<user@.example>", None),
            (b"RCPT TO:<user@example.>", None),
            (b"RCPT TO:<user@-a.example>", None),
            (b"RCPT TO:<user@a-.example>", None),
            (b"RCPT TO:<user@a\x1b[2J.example>", None),
            (b"RCPT TO:<user@>", None),
            (b"RCPT TO:user@contoso.com", None),
        ] {
            assert_eq!(recipient_domain(line), wanted, "{line:?}");
        }
    }

    #[test]
    fn the_greeting_style_is_for_destinations_only() {
        assert_eq!(open(Reason::NotOptedIn, REFUSE_AT_GREETING).reply, ReplyId::GreetingRefused);
        assert_eq!(open(Reason::NoPtr, REFUSE_AT_GREETING).reply, ReplyId::Greeting);
    }

    #[test]
    fn after_a_refusing_greeting_everything_but_quit_is_out_of_order() {
        for verb in [Verb::Ehlo, Verb::Mail, Verb::Noop, Verb::Unknown, Verb::Rset] {
            let step = step(Reason::NotOptedIn, Phase::Rejected, verb, 0);
            assert_eq!(step, Step { reply: ReplyId::BadSequence, next: Phase::Rejected });
        }
        let quit = step(Reason::NotOptedIn, Phase::Rejected, Verb::Quit, 0);
        assert_eq!(quit, Step { reply: ReplyId::Quit, next: Phase::Closing });
    }

    #[test]
    fn no_recipient_is_ever_accepted() {
        for reason in [Reason::NotOptedIn, Reason::NoPtr] {
            for phase in [Phase::Connected, Phase::Greeted, Phase::Mail, Phase::Rejected, Phase::Closing] {
                let reply = step(reason, phase, Verb::Rcpt, 0).reply;
                assert!(matches!(reply, ReplyId::BadSequence | ReplyId::NotOptedIn | ReplyId::NoPtr));
            }
        }
    }

    #[test]
    fn the_command_budget_ends_the_session() {
        let over = step(Reason::NoPtr, Phase::Mail, Verb::Noop, COMMANDS_MAX);
        assert_eq!(over, Step { reply: ReplyId::TooManyCommands, next: Phase::Closing });
    }
}
