//! One command of the refusing dialogue: from its line in the frame to the reply, by the tables of
//! `sixgate_common`.
//!
//! It moves no sequence number and sends nothing.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use sixgate_common::{
    domain::{self, PathDomain, Span},
    flow::{ARGUMENT_KEPT, KEPT_MAX},
    line::{self, Cut, skip},
    refuse::{self, ReplyId, Step, Verb},
    reply::{self, Reply},
    slot::{FLAG_SKIPPING, Note, Slot},
    stat::Stat,
};

use super::{event, scratch::Scratch};
use crate::{
    maps::{DOMAINS, PARTIAL_LINES, REPLIES, answers, count, now},
    parse::{Segment, Tuple},
    verifier::MapSlot,
};

/// The reading of a session's octets.
pub(crate) enum Reading {
    /// No whole line.
    Incomplete,
    /// So many octets of a line that is too long.
    Skipped(usize),
    /// The beginning of the line was kept, and is no longer there.
    LineLost,
    /// The session's entry makes no sense.
    Damaged,
    /// A command, answered.
    Command(AnsweredCommand),
}

/// A command and what the tables answer.
pub(crate) struct AnsweredCommand {
    /// Octets of its line, its end included.
    pub(crate) octets: usize,
    /// The reply, a [`ReplyId`] as its number.
    pub(crate) number: u8,
    /// The next [`Phase`], as its number.
    pub(crate) next: u8,
    /// The domain of a recipient that is refused; of length 0 if there is none.
    pub(crate) domain: Span,
    /// [`FLAG_SKIPPING`] if the line goes on, without an end so far; else 0. As wide as to leave no
    /// padding, which the verifiers of Linux before 6.3 let no program read from its stack.
    pub(crate) goes_on: u32,
    /// Octets of it that count towards the next such reply.
    pub(crate) skipped: u16,
}

impl AnsweredCommand {
    /// The same command; the verifier forgets the ranges of its numbers.
    #[inline(always)]
    fn forget_ranges(self, slot: MapSlot) -> Self {
        Self {
            octets: slot.forget_range(self.octets),
            number: slot.forget_range(self.number.into()) as u8,
            next: slot.forget_range(self.next.into()) as u8,
            domain: Span {
                start: slot.forget_range(self.domain.start),
                length: slot.forget_range(self.domain.length),
            },
            goes_on: slot.forget_range(self.goes_on as usize) as u32,
            skipped: self.skipped,
        }
    }
}

/// Reads the `available` octets at `at` of the frame, behind the `kept` ones of the same line; if
/// they were answered before (`again`), the step is the one that was taken.
#[expect(clippy::too_many_arguments, reason = "numbers of one segment and of its session")]
#[inline(always)]
pub(crate) fn read(
    context: &XdpContext,
    memory: MapSlot,
    slot: &Slot,
    skipped: u16,
    at: usize,
    available: usize,
    kept: u16,
    again: bool,
) -> Reading {
    let (Some(phase), Some(reason)) = (slot.phase(), slot.reason()) else {
        return Reading::Damaged;
    };
    let skipping = !again && slot.flags & FLAG_SKIPPING != 0;
    let before = if skipping { skipped } else { 0 };
    let Some(Found { cut, verb }) = look(context, at, available, kept, skipping) else {
        return Reading::LineLost;
    };
    let (mut goes_on, mut skipped) = (0, 0);
    let (octets, length) = match cut {
        Cut::Incomplete if !again => return Reading::Incomplete,
        Cut::Skipped(octets) if !again => {
            let (is_endless, rest) = skip(before, octets);
            if !is_endless {
                return Reading::Skipped(octets);
            }
            (goes_on, skipped) = (FLAG_SKIPPING.into(), rest);
            (octets, 0)
        }
        Cut::Incomplete | Cut::Skipped(_) => (0, 0),
        Cut::TooLong(octets) => (octets, 0),
        Cut::BareLineEnd => (available + kept as usize, 0),
        Cut::Line(length) => (length + CRLF, length),
    };
    let step = match ReplyId::from_number(slot.last_reply) {
        Some(reply) if again => Step { reply, next: phase },
        _ => refuse::step(reason, phase, verb, slot.commands.into()),
    };
    let (number, next) = (step.reply as u8, step.next as u8);
    let command = AnsweredCommand { octets, number, next, domain: Span::EMPTY, goes_on, skipped };
    let command = command.forget_ranges(memory);
    if !matches!(command.number, NOT_OPTED_IN | NOT_OPTED_IN_TEMPORARY | NO_PTR) {
        return Reading::Command(command);
    }
    if !matches!(cut, Cut::Line(_)) {
        // only the whole line tells what was answered
        return Reading::Incomplete;
    }
    let PathDomain { span, is_name } = domain(length);
    // for a retransmission the domain was looked up before
    let number = if command.number == NOT_OPTED_IN && !again && is_temporary(span) {
        count(Stat::AlsoTemporary);
        NOT_OPTED_IN_TEMPORARY
    } else {
        command.number
    };
    let is_echoed = is_name && (kept == 0 || span.length <= reply::KEPT_DOMAIN_MAX);
    Reading::Command(AnsweredCommand {
        number,
        domain: if is_echoed { span } else { Span::EMPTY },
        ..command
    })
}

/// The beginning of the octets: a cut, and the verb if it is a line.
struct Found {
    cut: Cut,
    verb: Verb,
}

/// Puts the line into the scratch and looks at it; nothing if its beginning is lost.
#[inline(always)]
fn look(context: &XdpContext, at: usize, available: usize, kept: u16, skipping: bool) -> Option<Found> {
    let found = sixgate_look(context.ctx, at as u32, available as u32, kept.into(), skipping.into());
    let octets = (found & 0xffff) as usize;
    let cut = match found >> 32 {
        0 => Cut::Incomplete,
        1 => Cut::Line(octets),
        2 => Cut::TooLong(octets),
        3 => Cut::Skipped(octets),
        4 => Cut::BareLineEnd,
        _ => return None,
    };
    Some(Found { cut, verb: Verb::from_number((found >> 16) as u8) })
}

/// [`line::cut`] and [`line::verb`] in a function that the verifier follows once, for all its
/// callers: the kind of the cut in the high half, then the verb, and in the lowest 16 bits the
/// octets.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_look(context: *mut xdp_md, at: u32, available: u32, kept: u32, skipping: u32) -> u64 {
    let text = Scratch::of_this_cpu()
        .filter(|_| answers())
        .and_then(|scratch| scratch.take_line(&XdpContext::new(context), at as usize, available, kept));
    let Some(text) = text else {
        return LOST << 32;
    };
    let available = text.in_use();
    let (kind, verb, octets) = match line::cut(&text, 0, available, skipping != 0) {
        Cut::Incomplete => (0, Verb::Unknown, 0),
        Cut::Line(length) => (1, line::verb(&text, 0, length), length),
        Cut::TooLong(octets) => (2, Verb::TooLong, octets),
        Cut::Skipped(octets) => (3, Verb::TooLong, octets),
        Cut::BareLineEnd => (4, Verb::BareLineEnd, 0),
    };
    kind << 32 | (verb as u64) << 16 | octets as u64 & 0xffff
}

/// [`domain::path_domain`] of the line in the scratch, in a function that the verifier follows
/// once: where the domain starts in the high half, then whether it is a name, and in the lowest 16
/// bits its length, 0 if there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_domain(length: u32) -> u64 {
    let Some(scratch) = Scratch::of_this_cpu().filter(|_| answers()) else {
        return 0;
    };
    match domain::path_domain(&scratch.line(), 0, length as usize) {
        Some(PathDomain { span, is_name }) => {
            (span.start as u64) << 32 | u64::from(is_name) << 16 | span.length as u64 & 0xffff
        }
        None => 0,
    }
}

#[inline(always)]
fn domain(length: usize) -> PathDomain {
    let found = sixgate_domain(length as u32);
    let span = Span { start: (found >> 32) as usize, length: (found & 0xffff) as usize };
    PathDomain { span, is_name: found & 1 << 16 != 0 }
}

/// Whether the map DOMAINS has the domain of `length` octets at `start` of the scratch's text, in a
/// function that the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_is_temporary(start: u32, length: u32) -> u32 {
    let Some(scratch) = Scratch::of_this_cpu().filter(|_| answers()) else {
        return 0;
    };
    let Some(key) = domain::domain_key(&scratch.line(), start as usize, length as usize) else {
        return 0;
    };
    // SAFETY: only that there is an entry matters.
    unsafe { DOMAINS.get(key) }.is_some().into()
}

#[inline(always)]
fn is_temporary(domain: Span) -> bool {
    domain.length > 0 && sixgate_is_temporary(domain.start as u32, domain.length as u32) != 0
}

/// The reply of that number in the session's set; nothing if it is not there any more.
#[inline(always)]
pub(crate) fn text(generation: u8, in_force: u32, number: u8) -> Option<&'static Reply> {
    if !reply::holds(generation, in_force) || number as usize >= ReplyId::ALL.len() {
        return None;
    }
    REPLIES.get(reply_index(generation, number)).filter(|reply| reply.length > 0)
}

/// Where in REPLIES a session's reply lies.
#[inline(always)]
pub(crate) fn reply_index(generation: u8, number: u8) -> u32 {
    reply::index(generation.into(), ReplyId::Greeting) + u32::from(number)
}

/// The subject of the reply, as a part of the scratch's text; of length 0 if it has none. `domain`
/// is a part of the line there.
#[inline(always)]
pub(crate) fn subject(scratch: Scratch, tuple: &Tuple, number: u8, domain: Span) -> Span {
    let address = match number {
        NOT_OPTED_IN | NOT_OPTED_IN_TEMPORARY if domain.length > 0 => return domain,
        NOT_OPTED_IN | NOT_OPTED_IN_TEMPORARY | GREETING_REFUSED => tuple.destination,
        NO_PTR => tuple.source,
        _ => return Span::EMPTY,
    };
    scratch.take_address(address)
}

/// Keeps the argument of MAIL, or of a refused RCPT, for the log: the line has `octets` octets in
/// the scratch; `number` is the reply to it. A recipient that was refused before is reported first.
#[inline(always)]
pub(crate) fn keep_argument(
    scratch: Scratch,
    tuple: &Tuple,
    slot: &Slot,
    note: &mut Note,
    number: u8,
    octets: usize,
) {
    let is_recipient = match number {
        NOT_OPTED_IN | NOT_OPTED_IN_TEMPORARY | NO_PTR => true,
        MAIL => false,
        _ => return,
    };
    if note.refused != 0 {
        event::recipient(tuple, slot, note, now());
    }
    if is_recipient {
        note.refused = number;
        note.recipient_length = argument_length(octets, RCPT_TO);
        scratch.copy::<RCPT_TO, ARGUMENT_KEPT>(&mut note.recipient);
    } else {
        note.refused = 0;
        note.recipient_length = 0;
        note.sender_length = argument_length(octets, MAIL_FROM);
        scratch.copy::<MAIL_FROM, ARGUMENT_KEPT>(&mut note.sender);
    }
}

/// Octets of the argument at `at` that are kept, of a line of `octets` octets.
#[inline(always)]
fn argument_length(octets: usize, at: usize) -> u8 {
    let length = octets.wrapping_sub(CRLF).wrapping_sub(at);
    if length < ARGUMENT_KEPT { length as u8 } else { ARGUMENT_KEPT as u8 }
}

/// Keeps the unfinished line in the scratch until the rest comes: `length` octets before the
/// sequence number `end`.
#[inline(always)]
pub(crate) fn keep_line(scratch: Scratch, tuple: &Tuple, end: u32, length: u32) -> bool {
    PARTIAL_LINES.insert(tuple.key(), scratch.partial_line(end, length), 0).is_ok()
}

/// Octets of an unfinished line that were kept, if the segment begins among them or behind them;
/// and how far behind the segment's first octet they end.
#[inline(always)]
pub(crate) fn kept_before(segment: &Segment) -> (u16, u32) {
    // SAFETY: an entry that gives way while it is read belongs to another session, and ends this
    // one at worst.
    match unsafe { PARTIAL_LINES.get(segment.tuple.key()) } {
        Some(line) => {
            let behind = line.end.wrapping_sub(segment.sequence);
            if behind <= line.length && line.length <= KEPT_MAX as u32 {
                (line.length as u16, behind)
            } else {
                (0, 0)
            }
        }
        None => (0, 0),
    }
}

/// Beside the kinds of cuts.
const LOST: u64 = 5;
const CRLF: usize = 2;
const MAIL_FROM: usize = b"MAIL FROM:".len();
const RCPT_TO: usize = b"RCPT TO:".len();
const MAIL: u8 = ReplyId::Mail as u8;
const NOT_OPTED_IN: u8 = ReplyId::NotOptedIn as u8;
const NOT_OPTED_IN_TEMPORARY: u8 = ReplyId::NotOptedInTemporary as u8;
const GREETING_REFUSED: u8 = ReplyId::GreetingRefused as u8;
const NO_PTR: u8 = ReplyId::NoPtr as u8;
