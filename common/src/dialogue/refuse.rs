//! The refusing dialogue (RFC 5321) as one pure table: verb by phase to reply and next phase, for
//! the kernel and for the daemon alike.
//!
//! It owns no text: replies are numbers here, and become octets in user space's reply table. It
//! keeps no input either: lines are read by [`crate::line`].

use crate::settings::REFUSE_AT_GREETING;

/// Commands that one refused session may send; the reply to the next one is
/// [`ReplyId::TooManyCommands`].
pub const COMMANDS_MAX: u16 = 60;
/// Longest command line, CRLF included (RFC 5321 4.5.3.1.4).
pub const LINE_MAX: usize = 512;
/// Longest MAIL line, CRLF included: what SIZE (RFC 1870 3), 8BITMIME (RFC 6152 2) and SMTPUTF8
/// (RFC 6531 3.1) add to [`LINE_MAX`].
pub const MAIL_LINE_MAX: usize = LINE_MAX + 26 + 17 + 10;

/// Why a session is refused from its first packet.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Reason {
    /// The destination address has not opted in.
    NotOptedIn = REASON_NOT_OPTED_IN,
    /// The sending address has no PTR record.
    NoPtr = REASON_NO_PTR,
}

/// The destination address has not opted in.
pub const REASON_NOT_OPTED_IN: u8 = 1;
/// The source is known to have no PTR record.
pub const REASON_NO_PTR: u8 = 2;

/// How far a refused session is. Numbers are stored in [`crate::slot::Slot::state`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
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
    /// EHLO or MAIL may have been accepted: the kernel's state of the session was lost. The client
    /// knows what comes next, and is believed.
    Resumed = 6,
}

impl Phase {
    /// The phase of that number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connected,
            2 => Self::Greeted,
            3 => Self::Mail,
            4 => Self::Rejected,
            5 => Self::Closing,
            6 => Self::Resumed,
            _ => return None,
        })
    }
}

impl Reason {
    /// The reason of that number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            REASON_NOT_OPTED_IN => Some(Self::NotOptedIn),
            REASON_NO_PTR => Some(Self::NoPtr),
            _ => None,
        }
    }
}

/// The request of a command line.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// AUTH (RFC 4954): not offered.
    Auth,
    /// A line with a bare CR, a bare LF or a NUL in it.
    BareLineEnd,
    /// DATA, with or without an argument.
    Data,
    /// EHLO with a name.
    Ehlo,
    /// HELO with a name.
    Helo,
    /// HELP, with or without an argument.
    Help,
    /// MAIL with its `FROM:`.
    Mail,
    /// EHLO or HELO without a name.
    NoName,
    /// NOOP, with or without an argument.
    Noop,
    /// QUIT, with or without an argument.
    Quit,
    /// RCPT with its `TO:`.
    Rcpt,
    /// RSET, with or without an argument.
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

impl Verb {
    /// The verb of that number; of one that is none's, [`Self::Unknown`].
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Auth,
            1 => Self::BareLineEnd,
            2 => Self::Data,
            3 => Self::Ehlo,
            4 => Self::Helo,
            5 => Self::Help,
            6 => Self::Mail,
            7 => Self::NoName,
            8 => Self::Noop,
            9 => Self::Quit,
            10 => Self::Rcpt,
            11 => Self::Rset,
            12 => Self::StartTls,
            13 => Self::Syntax,
            14 => Self::TooLong,
            16 => Self::Vrfy,
            _ => Self::Unknown,
        }
    }
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
    /// 250: HELO, with our name.
    Helo,
    /// 501: EHLO or HELO without a name.
    NoName,
    /// 250: the sender of MAIL is taken.
    Mail,
    /// 550 5.2.1: RCPT; the recipient's domain or the destination address is inserted.
    NotOptedIn,
    /// 450 4.2.1: RCPT, for a domain whose refusal is temporary; the same is inserted.
    NotOptedInTemporary,
    /// 450 4.7.25, or 550 5.7.25 by a setting: RCPT; the source address is inserted.
    NoPtr,
    /// 554: DATA without an accepted recipient.
    NoRecipients,
    /// 503: a command out of order.
    BadSequence,
    /// 250: the reply to RSET.
    Rset,
    /// 250: the reply to NOOP.
    Noop,
    /// 252: VRFY or EXPN.
    Vrfy,
    /// 214: the reply to HELP.
    Help,
    /// 221: the reply to QUIT.
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
    /// The reply of that number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Whether a recipient, or the whole session, is refused with it.
    #[must_use]
    pub const fn refuses(self) -> bool {
        matches!(self, Self::GreetingRefused | Self::NotOptedIn | Self::NotOptedInTemporary | Self::NoPtr)
    }

    /// The same reply, about a recipient whose domain's refusal is temporary or not.
    #[must_use]
    pub const fn about_domain(self, is_temporary: bool) -> Self {
        match self {
            Self::NotOptedIn if is_temporary => Self::NotOptedInTemporary,
            other => other,
        }
    }

    /// Every reply, in the order of its index.
    pub const ALL: [Self; 22] = [
        Self::Greeting,
        Self::GreetingRefused,
        Self::Ehlo,
        Self::Helo,
        Self::NoName,
        Self::Mail,
        Self::NotOptedIn,
        Self::NotOptedInTemporary,
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
    /// The reply to send.
    pub reply: ReplyId,
    /// Where the session is afterwards; [`Phase::Closing`]: it was the last reply.
    pub next: Phase,
}

/// The greeting of a refused session. `refuse_at` is a number of [`crate::settings`]; it matters
/// for [`Reason::NotOptedIn`] only (a missing PTR is always replied to at RCPT).
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
            Phase::Greeted | Phase::Resumed => Step { reply: ReplyId::Mail, next: Phase::Mail },
            _ => stay(ReplyId::BadSequence),
        },
        Verb::Rcpt => match phase {
            Phase::Mail | Phase::Resumed => Step {
                reply: match reason {
                    Reason::NotOptedIn => ReplyId::NotOptedIn,
                    Reason::NoPtr => ReplyId::NoPtr,
                },
                next: Phase::Mail,
            },
            _ => stay(ReplyId::BadSequence),
        },
        Verb::Data => match phase {
            Phase::Mail | Phase::Resumed => stay(ReplyId::NoRecipients),
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
    fn each_number_is_read_back() {
        for number in 0..=16 {
            assert_eq!(Verb::from_number(number) as u8, number);
        }
        for number in 1..=6 {
            assert_eq!(Phase::from_number(number).map(|phase| phase as u8), Some(number));
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
    fn only_what_is_not_opted_in_is_refused_temporarily() {
        for reply in ReplyId::ALL {
            assert_eq!(reply.about_domain(false), reply);
            let wanted = if reply == ReplyId::NotOptedIn { ReplyId::NotOptedInTemporary } else { reply };
            assert_eq!(reply.about_domain(true), wanted);
        }
    }

    #[test]
    fn the_command_budget_ends_the_session() {
        let over = step(Reason::NoPtr, Phase::Mail, Verb::Noop, COMMANDS_MAX);
        assert_eq!(over, Step { reply: ReplyId::TooManyCommands, next: Phase::Closing });
    }
}
