//! One turn of the refusing dialogue: from a command line in the frame to the reply, by the tables of
//! `sixgate_common`.
//!
//! It moves no sequence number and sends nothing.

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};
use sixgate_common::{
    flow::{FLAG_SKIPPING, Flow},
    line::{self, Cut, Span},
    refuse::{self, Phase, Reason, ReplyId, Step, Verb},
    reply::{self, Reply},
};

use super::scratch::{self, Scratch};
use crate::{
    REPLIES,
    frame::{Linear, Veil},
    parse::Tuple,
};

/// What octets of a session are.
pub(crate) enum Turn {
    /// No whole line.
    Incomplete,
    /// So many octets of a line that is too long.
    Skipped(usize),
    /// A command, answered.
    Command(Command),
}

/// A command and what the tables answer.
pub(crate) struct Command {
    /// Octets of its line, its end included.
    pub(crate) octets: usize,
    /// The reply, a [`ReplyId`] as its number.
    pub(crate) number: u8,
    /// The next [`Phase`], as its number.
    pub(crate) next: u8,
    /// The domain of a recipient that is refused; of length 0 if there is none.
    pub(crate) domain: Span,
}

impl Command {
    /// The same command; the verifier forgets how it was found.
    #[inline(always)]
    fn behind(self, veil: Veil) -> Self {
        Self {
            octets: veil.over(self.octets),
            number: veil.over(self.number.into()) as u8,
            next: veil.over(self.next.into()) as u8,
            domain: Span { start: veil.over(self.domain.start), length: veil.over(self.domain.length) },
        }
    }
}

/// Reads the `available` octets at `at`; if they were answered before (`again`), the step is the one that was taken.
/// Nothing if the session's entry is damaged.
#[inline(always)]
pub(crate) fn read(
    context: &XdpContext,
    veil: Veil,
    flow: &Flow,
    at: usize,
    available: usize,
    again: bool,
) -> Option<Turn> {
    let phase = Phase::from_number(flow.phase)?;
    let skipping = !again && flow.flags & FLAG_SKIPPING != 0;
    let Found { cut, verb } = look(context, at, available, skipping);
    let (octets, length) = match cut {
        Cut::Incomplete if !again => return Some(Turn::Incomplete),
        Cut::Skipped(octets) if !again => return Some(Turn::Skipped(octets)),
        Cut::Incomplete | Cut::Skipped(_) => (0, 0),
        Cut::TooLong(octets) => (octets, 0),
        Cut::BareLineEnd => (available, 0),
        Cut::Line(length) => (length + CRLF, length),
    };
    let step = if again {
        Step { reply: ReplyId::from_number(flow.last_reply)?, next: phase }
    } else {
        refuse::step(Reason::from_number(flow.reason)?, phase, verb, flow.commands)
    };
    let command = Command { octets, number: step.reply as u8, next: step.next as u8, domain: NO_DOMAIN };
    let command = command.behind(veil);
    if command.number != NOT_OPTED_IN && command.number != NO_PTR {
        return Some(Turn::Command(command));
    }
    if !matches!(cut, Cut::Line(_)) {
        // only the whole line tells what was answered
        return Some(Turn::Incomplete);
    }
    Some(Turn::Command(Command { domain: domain(context, at, length), ..command }))
}

/// What the octets begin with: a cut, and the verb of what is a line.
struct Found {
    cut: Cut,
    verb: Verb,
}

#[inline(always)]
fn look(context: &XdpContext, at: usize, available: usize, skipping: bool) -> Found {
    let found = sixgate_look(context.ctx, at as u32, available as u32, skipping.into());
    let octets = (found & 0xffff) as usize;
    let cut = match found >> 32 {
        0 => Cut::Incomplete,
        1 => Cut::Line(octets),
        2 => Cut::TooLong(octets),
        3 => Cut::Skipped(octets),
        _ => Cut::BareLineEnd,
    };
    Found { cut, verb: Verb::from_number((found >> 16) as u8) }
}

/// [`line::cut`] and [`line::verb`] in a function that the verifier follows once, whoever calls it: the kind of the cut
/// in the high half, then the verb, and in the lowest 16 bits the octets.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_look(context: *mut xdp_md, at: u32, available: u32, skipping: u32) -> u64 {
    let Some(scratch) = Scratch::of_this_cpu() else {
        return 0;
    };
    let frame = Linear::of(&XdpContext::new(context)).behind(scratch.veil());
    let at = at as usize;
    let (kind, verb, octets) = match line::cut(&frame, at, available as usize, skipping != 0) {
        Cut::Incomplete => (0, Verb::Unknown, 0),
        Cut::Line(length) => (1, line::verb(&frame, at, length), length),
        Cut::TooLong(octets) => (2, Verb::TooLong, octets),
        Cut::Skipped(octets) => (3, Verb::TooLong, octets),
        Cut::BareLineEnd => (4, Verb::BareLineEnd, 0),
    };
    kind << 32 | (verb as u64) << 16 | octets as u64 & 0xffff
}

/// [`line::recipient_domain`] in a function that the verifier follows once: where the domain starts in the high half, its
/// length in the low one, 0 if there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_domain(context: *mut xdp_md, at: u32, length: u32) -> u64 {
    let Some(scratch) = Scratch::of_this_cpu() else {
        return 0;
    };
    let frame = Linear::of(&XdpContext::new(context)).behind(scratch.veil());
    match line::recipient_domain(&frame, at as usize, length as usize) {
        Some(Span { start, length }) => (start as u64) << 32 | length as u64,
        None => 0,
    }
}

#[inline(always)]
fn domain(context: &XdpContext, at: usize, length: usize) -> Span {
    let found = sixgate_domain(context.ctx, at as u32, length as u32);
    Span { start: (found >> 32) as usize, length: (found & 0xffff) as usize }
}

/// The reply of that number in the session's set; nothing if it is not there any more.
#[inline(always)]
pub(crate) fn text(generation: u8, in_force: u32, number: u8) -> Option<&'static Reply> {
    if !reply::holds(generation, in_force) || number as usize >= ReplyId::ALL.len() {
        return None;
    }
    let first = reply::index(generation.into(), ReplyId::Greeting);
    REPLIES.get(first + u32::from(number)).filter(|reply| reply.length > 0)
}

/// Puts what the reply is about into the scratch: its length, 0 if it is about nothing. `at` is where the line with
/// `domain` starts.
#[inline(always)]
pub(crate) fn subject(
    context: &XdpContext,
    scratch: Scratch,
    tuple: &Tuple,
    number: u8,
    at: usize,
    domain: Span,
) -> Option<usize> {
    let address = match number {
        NOT_OPTED_IN if domain.length > 0 => {
            return scratch.take_domain(context, at + domain.start, domain.length);
        }
        NOT_OPTED_IN => tuple.destination,
        GREETING_REFUSED => tuple.destination,
        NO_PTR => tuple.source,
        _ => return Some(0),
    };
    Some(scratch.take_address(address))
}

/// Keeps the domain of a refused recipient for the log. `at` is where its line starts.
#[inline(always)]
pub(crate) fn keep_domain(context: &XdpContext, flow: &mut Flow, at: usize, domain: Span) {
    flow.domain_length = scratch::load(context, at + domain.start, &mut flow.domain, domain.length);
}

/// No domain at all.
pub(crate) const NO_DOMAIN: Span = Span { start: 0, length: 0 };
const CRLF: usize = 2;
const NOT_OPTED_IN: u8 = ReplyId::NotOptedIn as u8;
const GREETING_REFUSED: u8 = ReplyId::GreetingRefused as u8;
const NO_PTR: u8 = ReplyId::NoPtr as u8;
