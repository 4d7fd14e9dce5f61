//! How a session begins: a SYN answered with a SYN cookie, and the acknowledgement of it answered
//! with the greeting.
//!
//! A SYN leaves nothing behind; what follows the greeting is `session`'s.

use aya_ebpf::{bindings::BPF_NOEXIST, programs::XdpContext};
use sixgate_common::{
    cookie::Style,
    domain::Span,
    flow::Flow,
    refuse::{self, Reason},
    settings::{ANSWER_KERNEL, MODE_ENFORCE, READY, REFUSE_AT_RESET, Settings},
    stat::Stat,
};

use super::{
    checksum, cookie, event,
    outgoing::{Answer, Outgoing},
    scratch::Scratch,
    smtp,
};
use crate::{
    maps::{FLOWS, count, now},
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
        // The only failure is that there was no entry of an earlier connection.
        let _ = FLOWS.remove(segment.tuple.key());
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

/// Completes a handshake: only a segment whose acknowledgement is a cookie of ours can, and the
/// cookie has the decision; `otherwise` is the counter of one whose acknowledgement is not.
#[inline(always)]
pub(super) fn complete(
    context: &XdpContext,
    segment: &Segment,
    scratch: &mut Scratch,
    settings: &Settings,
    replaces: bool,
    otherwise: Stat,
) -> Answer {
    let may = settings.answer == ANSWER_KERNEL && settings.mode == MODE_ENFORCE && settings.ready == READY;
    if !may || !segment.flags.is_acknowledging() || segment.payload > HANDSHAKE_PAYLOAD_MAX {
        return Answer::Pass(Stat::PassSegment);
    }
    let Some(style) = cookie::completed(settings, segment) else {
        return match otherwise {
            Stat::DropSilent => Answer::Drop(otherwise),
            _ => Answer::Pass(otherwise),
        };
    };
    if !checksum::holds(context) {
        return Answer::Pass(Stat::PassChecksum);
    }
    greet(segment, scratch, settings, style, replaces)
}

#[inline(always)]
fn greet(
    segment: &Segment,
    scratch: &mut Scratch,
    settings: &Settings,
    style: Style,
    replaces: bool,
) -> Answer {
    let reason = style.reason();
    let step = refuse::open(reason, style.refuse_at());
    let (number, generation) = (step.reply as u8, settings.generation as u8);
    let Some(reply) = smtp::text(generation, settings.generation, number) else {
        return Answer::Pass(Stat::PassSegment);
    };
    let subject = smtp::subject(*scratch, &segment.tuple, number, Span::EMPTY);
    let now = now();
    let flow = scratch.flow();
    flow.make_tag(reason as u8, now);
    flow.receive_next = segment.sequence;
    flow.receive_last = segment.sequence;
    flow.send_next = segment.acknowledgment.wrapping_add(reply.length as u32 + subject.length as u32);
    flow.send_last = segment.acknowledgment;
    flow.phase = step.next as u8;
    flow.last_reply = number;
    flow.generation = generation;
    flow.refused = if step.reply.refuses() { number } else { 0 };
    let mode = if replaces { 0 } else { BPF_NOEXIST.into() };
    let entry: &Flow = flow;
    match FLOWS.insert(segment.tuple.key(), entry, mode) {
        Ok(()) => {}
        Err(EEXIST) => return Answer::Drop(Stat::DropBusy),
        Err(_) => return reset(scratch, segment, Stat::AnswerNoEntry),
    }
    count(match reason {
        Reason::NotOptedIn => Stat::AlsoBegunNotOptedIn,
        Reason::NoPtr => Stat::AlsoBegunNoPtr,
    });
    event::begun(&segment.tuple, reason as u8, now);
    let outgoing = Outgoing {
        reply: smtp::reply_index(generation, number),
        subject,
        ..Outgoing::bare(segment.acknowledgment, segment.sequence, TcpFlags::ACK | TcpFlags::PSH)
    };
    scratch.send(outgoing, Stat::AnswerGreeting)
}

/// Ends a handshake that was completed with a reset.
#[inline(always)]
fn reset(scratch: &Scratch, segment: &Segment, stat: Stat) -> Answer {
    scratch.send(Outgoing::bare(segment.acknowledgment, 0, TcpFlags::RST), stat)
}

/// Payload with which a handshake can end. A client that sends before the greeting sends a command
/// or two; segments of a message that the host receives are longer.
const HANDSHAKE_PAYLOAD_MAX: usize = 600;
const EEXIST: i32 = -17;
