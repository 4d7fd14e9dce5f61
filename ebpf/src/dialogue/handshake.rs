//! How a session begins: a SYN answered with a SYN cookie, and the acknowledgement of it answered
//! with the greeting.
//!
//! A SYN leaves nothing behind; what follows the greeting is `session`'s.

use aya_ebpf::programs::XdpContext;
use sixgate_common::{
    bytes::Bytes as _,
    cookie::Style,
    domain::Span,
    line,
    refuse::{self, Phase, Reason, ReplyId},
    settings::{ANSWER_KERNEL, MODE_ENFORCE, READY, REFUSE_AT_RESET, Settings},
    slot::{FLAG_ACKNOWLEDGED, FLAG_KEPT, FLAG_RESUMED, Note, OPENED_SHIFT, Slot},
    stat::Stat,
};

use super::{
    checksum,
    cookie::{self, Numbers},
    event,
    outgoing::{Answer, Outgoing},
    scratch::Scratch,
    slots::{self, Held},
    smtp,
};
use crate::{
    classify::{Decision, classify},
    frame::Linear,
    maps::{answers, count, now, settings},
    parse::{Segment, TcpFlags},
};

/// Answers a SYN to a refused destination.
#[inline(always)]
pub(super) fn open(
    context: &XdpContext,
    scratch: Scratch,
    settings: &Settings,
    reason: Reason,
    finished: bool,
) -> Answer {
    let segment = scratch.segment();
    if !checksum::holds(context) {
        return Answer::Pass(Stat::PassChecksum);
    }
    if finished && scratch.is_unfinished() {
        super::forget();
        return Answer::Pass(Stat::PassUnfinished);
    }
    let resets = matches!(reason, Reason::NotOptedIn) && settings.refuse_at == REFUSE_AT_RESET;
    // data in a SYN is not taken (RFC 9293 3.10.7.2 allows it); a reset acknowledges it all the
    // same (3.10.7.1)
    let taken = if resets { 1 + segment.payload as u32 } else { 1 };
    let acknowledgment = segment.sequence.wrapping_add(taken);
    if resets {
        event::refused(&segment.tuple, reason, now());
        let flags = TcpFlags::RST | TcpFlags::ACK;
        return scratch.send(Outgoing::bare(0, acknowledgment, flags), Stat::AnswerReset);
    }
    let style = Style::of(reason, settings.refuse_at);
    let Some(sequence) = cookie::make(settings, segment, style) else {
        return Answer::Pass(Stat::PassNotReady);
    };
    let outgoing = Outgoing::bare(sequence, acknowledgment, TcpFlags::SYN | TcpFlags::ACK);
    scratch.send(Outgoing { offers_mss: 1, ..outgoing }, Stat::AnswerSyn)
}

/// Looks at a segment that belongs to no session: it may complete a handshake, whose decision is in
/// the cookie, or go on with a session whose state was lost, in which case there is no answer yet
/// and `held` is the session's slot. Before, `held` is the slot of its 4-tuple, if there is one;
/// `is_ahead`: the segment's numbers are a little above those in the slot.
#[inline(always)]
pub(super) fn complete(
    context: &XdpContext,
    scratch: Scratch,
    settings: &Settings,
    held: &mut Held,
    is_ahead: bool,
) -> Option<u32> {
    let segment = scratch.segment();
    let otherwise = if is_ahead { Answer::Drop(Stat::DropSilent) } else { Answer::Pass(Stat::PassSegment) };
    let may = settings.answer == ANSWER_KERNEL && settings.mode == MODE_ENFORCE && settings.ready == READY;
    if !may || segment.payload > HANDSHAKE_PAYLOAD_MAX || !segment.flags.has(TcpFlags::ACK) {
        return Some(otherwise.encode());
    }
    match cookie::numbers() {
        Numbers::Handshake(style) if segment.flags.is_acknowledging() => {
            if !checksum::holds(context) {
                return Some(Answer::Pass(Stat::PassChecksum).encode());
            }
            Some(sixgate_greet(style as u32, held.index, held.is_some().into()))
        }
        // of a connection before, which used the same port
        Numbers::Handshake(_) | Numbers::Dialogue(_) if held.is_some() && !is_ahead => {
            Some(Answer::Drop(Stat::DropSilent).encode())
        }
        Numbers::Handshake(style) | Numbers::Dialogue(style) => {
            resume(context, scratch, settings, style, held).map(Answer::encode)
        }
        Numbers::Others => Some(otherwise.encode()),
    }
}

/// Greets, in the slot of that index if the caller has one; the answer's number. A function that
/// the verifier follows once, whose stack is free again for what follows.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_greet(style: u32, index: u32, has_slot: u32) -> u32 {
    let (Some(scratch), Some(settings)) = (Scratch::of_this_cpu().filter(|_| answers()), settings()) else {
        return Answer::Drop(Stat::DropBusy).encode();
    };
    let style = Style::from_number(style).unwrap_or(Style::NotOptedIn);
    greet(scratch, settings, style, (has_slot != 0).then_some(index)).encode()
}

#[inline(always)]
fn greet(scratch: Scratch, settings: &Settings, style: Style, old: Option<u32>) -> Answer {
    let segment = scratch.segment();
    let reason = style.reason();
    let step = refuse::open(reason, style.refuse_at());
    let (number, generation) = (step.reply as u8, settings.generation as u8);
    let Some(reply) = smtp::text(generation, settings.generation, number) else {
        return Answer::Pass(Stat::PassSegment);
    };
    let subject = smtp::subject(scratch, &segment.tuple, number, Span::EMPTY);
    let now = now();
    let (state, opened) = (Slot::state_of(reason as u8, step.next as u8), (now >> OPENED_SHIFT) as u32);
    let mut taken = Held::NONE;
    let index = match old {
        Some(index) => index,
        None if slots::take(&segment.tuple, state, opened, &mut taken) => taken.index,
        None => return Answer::Drop(Stat::DropBusy),
    };
    let length = reply.length as u32 + subject.length as u32;
    let Some((slot, note)) = slots::of_caller(index) else {
        return Answer::Drop(Stat::DropBusy);
    };
    begin(slot, state, opened);
    slot.receive_next = segment.sequence;
    slot.send_next = segment.acknowledgment.wrapping_add(length);
    slot.reply = length as u16;
    slot.last_reply = number;
    slot.generation = generation;
    clear(note);
    note.refused = if step.reply.refuses() { number } else { 0 };
    count(match reason {
        Reason::NotOptedIn => Stat::AlsoBegunNotOptedIn,
        Reason::NoPtr => Stat::AlsoBegunNoPtr,
    });
    let outgoing = Outgoing {
        reply: smtp::reply_index(generation, number),
        subject,
        ..Outgoing::bare(segment.acknowledgment, segment.sequence, TcpFlags::ACK | TcpFlags::PSH)
    };
    scratch.send(outgoing, Stat::AnswerGreeting)
}

/// Makes the state of a session anew from a segment's numbers, if the tuple is refused now and the
/// connection is not the host's: numbers can be near a cookie by chance.
#[inline(always)]
fn resume(
    context: &XdpContext,
    scratch: Scratch,
    settings: &Settings,
    style: Style,
    held: &mut Held,
) -> Option<Answer> {
    let segment = scratch.segment();
    if segment.flags.has(TcpFlags::SYN | TcpFlags::RST) {
        return Some(Answer::Pass(Stat::PassSegment));
    }
    if matches!(classify(settings, &segment.tuple), Decision::Pass(_)) {
        return Some(Answer::Pass(Stat::PassSegment));
    }
    if cookie::is_hosts(context, &segment.tuple) {
        return Some(Answer::Pass(Stat::PassOwned));
    }
    if !checksum::holds(context) {
        return Some(Answer::Pass(Stat::PassChecksum));
    }
    if segment.payload == 0 && !segment.flags.has(TcpFlags::FIN) {
        // an answer is needed only by what follows
        return Some(Answer::Drop(Stat::DropSilent));
    }
    let (kept, behind) = smtp::kept_before(segment);
    if segment.payload > 0 && kept == 0 && !begins_a_line(context, segment) {
        // The sender's TCP sends what is before it, too.
        return Some(Answer::Drop(Stat::DropIncomplete));
    }
    let phase = if matches!(style, Style::Greeting) { Phase::Rejected } else { Phase::Resumed };
    let state = Slot::state_of(style.reason() as u8, phase as u8);
    if !place(segment, held, state, now()) {
        return Some(Answer::Drop(Stat::DropBusy));
    }
    if let Some((slot, note)) = slots::of_caller(held.index) {
        slot.receive_next = segment.sequence.wrapping_add(behind);
        slot.send_next = segment.acknowledgment;
        slot.reply = 0;
        slot.last_reply = ReplyId::Greeting as u8;
        slot.generation = settings.generation as u8;
        slot.flags = FLAG_ACKNOWLEDGED | FLAG_RESUMED;
        clear(note);
        note.kept = kept;
        if kept != 0 {
            slot.flags |= FLAG_KEPT;
        }
    }
    count(Stat::AlsoResumed);
    None
}

/// Whether the segment's first octets are those of a command.
#[inline(always)]
fn begins_a_line(context: &XdpContext, segment: &Segment) -> bool {
    let frame = Linear::of(context);
    let at = segment.payload_at;
    match (frame.u32_ne(at), frame.octet(at + 4)) {
        (Some(word), Some(next)) => segment.payload > 5 && line::begins_a_line(word, next),
        _ => false,
    }
}

/// Has the connection's slot begin a session: the one that it had, or another one; whether there is
/// one.
#[inline(always)]
fn place(segment: &Segment, held: &mut Held, state: u8, now: u64) -> bool {
    let opened = (now >> OPENED_SHIFT) as u32;
    if !held.is_some() && !slots::take(&segment.tuple, state, opened, held) {
        return false;
    }
    let Some(slot) = held.slot() else {
        return false;
    };
    begin(slot, state, opened);
    true
}

/// What no session has at its beginning.
#[inline(always)]
const fn begin(slot: &mut Slot, state: u8, opened: u32) {
    slot.state = state;
    slot.opened = opened;
    slot.line = 0;
    slot.commands = 0;
    slot.flags = 0;
    slot.acknowledgments = 0;
}

/// The text has no length then, and stays as it is.
#[inline(always)]
const fn clear(note: &mut Note) {
    note.kept = 0;
    note.kept_last = 0;
    note.skipped = 0;
    note.refused = 0;
    note.sender_length = 0;
    note.recipient_length = 0;
}

/// Payload with which a handshake can end, and with which a session goes on that lost its state. A
/// client that sends before the greeting sends a command or two; segments of a message that the
/// host receives are longer.
const HANDSHAKE_PAYLOAD_MAX: usize = 600;
