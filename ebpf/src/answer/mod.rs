//! Refuses by itself: completes the handshake with a SYN cookie and speaks the refusing dialogue, frame by frame.
//!
//! It owns the order in which a session's state changes; what a segment asks for is `tcp`'s, what a line asks for is
//! `smtp`'s. Whatever is not a session of its own it leaves to the host.

mod checksum;
mod cookie;
mod event;
mod scratch;
mod smtp;
mod tcp;
mod transmit;
mod turnstile;

use aya_ebpf::{
    bindings::{
        BPF_NOEXIST,
        xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
        xdp_md,
    },
    helpers::bpf_ktime_get_ns,
    programs::XdpContext,
};
use sixgate_common::{
    event::Ending,
    flow::{FLAG_FIN_RECEIVED, FLAG_FIN_SENT, FLAG_HEARD, FLAG_SKIPPING, Flow, PHASE_TAG},
    refuse::{self, Phase, Reason, ReplyId},
    reply,
    settings::{ANSWER_KERNEL, MODE_ENFORCE, REFUSE_AT_RESET, Settings},
    stat::{self, Stat},
};

use self::{
    scratch::Scratch,
    smtp::{Command, NO_DOMAIN, Turn},
    tcp::Reaction,
    transmit::Outgoing,
    turnstile::Turnstile,
};
use crate::{
    FLOWS, SETTINGS, answers,
    classify::{Decision, classify},
    count, count_number,
    frame::Linear,
    parse::{Segment, TcpFlags},
};

/// What is to become of a frame.
pub(crate) enum Answer {
    /// The scratch's [`Outgoing`] is sent, and the counter says what it is.
    Send(Stat),
    /// It is dropped: its sender's TCP knows what to do.
    Drop(Stat),
    /// The sender reset the session, which is over.
    Forget,
    /// It is the host's.
    Pass(Stat),
}

impl Answer {
    /// The answer as a number, in which form functions that are verified for themselves can return it.
    const fn encode(self) -> u32 {
        match self {
            Self::Send(stat) => SEND | stat as u32,
            Self::Drop(stat) => DROP | stat as u32,
            Self::Forget => FORGET | Stat::DropReset as u32,
            Self::Pass(stat) => PASS | stat as u32,
        }
    }
}

/// Keeps the segment at hand for what follows.
#[inline(always)]
pub(crate) fn keep(segment: Segment) -> Result<(), Stat> {
    Scratch::of_this_cpu().ok_or(Stat::PassNotReady)?.keep(segment);
    Ok(())
}

/// Answers a SYN to a refused destination; the answer's number.
#[inline(always)]
pub(crate) fn open(context: &XdpContext, reason: Reason) -> u32 {
    sixgate_open(context.ctx, reason as u32)
}

/// In a function that the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_open(context: *mut xdp_md, reason: u32) -> u32 {
    let reason = if reason == Reason::NoPtr as u32 { Reason::NoPtr } else { Reason::NotOptedIn };
    if !answers() {
        return Answer::Pass(Stat::PassNotReady).encode();
    }
    let (Some(scratch), Some(settings)) = (Scratch::of_this_cpu(), SETTINGS.get(0)) else {
        return Answer::Pass(Stat::PassNotReady).encode();
    };
    answer_syn(&XdpContext::new(context), scratch, reason, settings.refuse_at).encode()
}

#[inline(always)]
fn answer_syn(context: &XdpContext, scratch: Scratch, reason: Reason, refuse_at: u32) -> Answer {
    let segment = scratch.segment();
    if !checksum::holds(context) {
        return Answer::Pass(Stat::PassChecksum);
    }
    let resets = is_reset(reason, refuse_at);
    // data in a SYN is not taken (RFC 9293 3.10.7.2 allows it); a reset acknowledges it all the same (3.10.7.1)
    let taken = if resets { 1 + segment.payload as u32 } else { 1 };
    let acknowledgment = segment.sequence.wrapping_add(taken);
    if resets {
        event::refused(&segment.tuple, reason, now());
        let flags = TcpFlags::RST | TcpFlags::ACK;
        return scratch.send(Outgoing::bare(0, acknowledgment, flags), Stat::AnswerReset);
    }
    let Some(cookie) = cookie::make(&Linear::of(context), segment) else {
        return Answer::Pass(Stat::PassCookie);
    };
    let outgoing = Outgoing::bare(cookie, acknowledgment, TcpFlags::SYN | TcpFlags::ACK);
    scratch.send(Outgoing { offers_mss: 1, ..outgoing }, Stat::AnswerSyn)
}

/// Answers any other segment, if it belongs to a session of ours or completes the handshake of one; the answer's number.
#[inline(always)]
pub(crate) fn proceed(context: &XdpContext) -> u32 {
    sixgate_proceed(context.ctx)
}

/// In a function that the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_proceed(context: *mut xdp_md) -> u32 {
    if !answers() {
        return Answer::Pass(Stat::PassNotReady).encode();
    }
    let (Some(mut scratch), Some(settings)) = (Scratch::of_this_cpu(), SETTINGS.get(0)) else {
        return Answer::Pass(Stat::PassNotReady).encode();
    };
    let context = XdpContext::new(context);
    let segment = scratch.segment();
    let known = FLOWS.get_ptr_mut(segment.tuple.key());
    let resumed = match known {
        Some(flow) => resume(&context, segment, scratch, settings, flow),
        None => Err(Stat::PassCookie),
    };
    let answer = match resumed {
        Ok(answer) => answer,
        Err(otherwise) => complete(&context, segment, &mut scratch, settings, known.is_some(), otherwise),
    };
    answer.encode()
}

/// Does what an answer's number says; the action.
#[inline(always)]
pub(crate) fn carry_out(context: &XdpContext, answer: u32) -> u32 {
    let stat = answer & STAT_MASK;
    match answer & !STAT_MASK {
        PASS => {
            count_number(stat);
            XDP_PASS
        }
        SEND if transmit::transmit(context) => {
            count_number(stat);
            XDP_TX
        }
        SEND => {
            count(Stat::DropNoRoom);
            XDP_DROP
        }
        FORGET => {
            if let Some(scratch) = Scratch::of_this_cpu() {
                // The only failure is that it is gone already.
                let _ = FLOWS.remove(scratch.segment().tuple.key());
            }
            count_number(stat);
            XDP_DROP
        }
        _ => {
            count_number(stat);
            XDP_DROP
        }
    }
}

/// Completes a handshake: only a segment whose tuple is refused now and whose acknowledgement is a cookie of ours can;
/// `otherwise` is the counter of one whose acknowledgement is none.
#[inline(always)]
fn complete(
    context: &XdpContext,
    segment: &Segment,
    scratch: &mut Scratch,
    settings: &Settings,
    replaces: bool,
    otherwise: Stat,
) -> Answer {
    let may = settings.answer == ANSWER_KERNEL && settings.mode == MODE_ENFORCE;
    if !may || !segment.flags.is_acknowledging() || segment.payload > HANDSHAKE_PAYLOAD_MAX {
        return Answer::Pass(Stat::PassSegment);
    }
    let now = now();
    let Decision::Refuse(reason) = classify(settings, &segment.tuple, now) else {
        return Answer::Pass(Stat::PassSegment);
    };
    if !cookie::is_ours(&Linear::of(context), segment) {
        return match otherwise {
            Stat::DropSilent => Answer::Drop(otherwise),
            _ => Answer::Pass(otherwise),
        };
    }
    if !checksum::holds(context) {
        return Answer::Pass(Stat::PassChecksum);
    }
    // a cookie can be hit by chance, and the host's connections are not to be touched
    if cookie::is_hosts(context, &segment.tuple) {
        return Answer::Pass(Stat::PassOwned);
    }
    if is_reset(reason, settings.refuse_at) {
        return reset(scratch, segment, Stat::AnswerReset);
    }
    greet(context, segment, scratch, settings, reason, replaces, now)
}

#[inline(always)]
fn greet(
    context: &XdpContext,
    segment: &Segment,
    scratch: &mut Scratch,
    settings: &Settings,
    reason: Reason,
    replaces: bool,
    now: u64,
) -> Answer {
    let step = refuse::open(reason, settings.refuse_at);
    let (number, generation) = (step.reply as u8, settings.generation as u8);
    let Some(reply) = smtp::text(generation, settings.generation, number) else {
        return Answer::Pass(Stat::PassSegment);
    };
    let Some(subject) = smtp::subject(context, *scratch, &segment.tuple, number, 0, NO_DOMAIN) else {
        return Answer::Drop(Stat::DropNoRoom);
    };
    let flow = scratch.flow();
    // the kept domain has no length yet, and stays as it is
    flow.opened = now;
    flow.busy = 0;
    flow.receive_next = segment.sequence;
    flow.receive_last = segment.sequence;
    flow.send_next = segment.acknowledgment.wrapping_add(reply.length as u32 + subject as u32);
    flow.send_last = segment.acknowledgment;
    flow.commands = 0;
    flow.reason = reason as u8;
    flow.phase = step.next as u8;
    flow.last_reply = number;
    flow.generation = generation;
    flow.flags = 0;
    flow.domain_length = 0;
    let mode = if replaces { 0 } else { BPF_NOEXIST.into() };
    match FLOWS.insert(segment.tuple.key(), flow, mode) {
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
        reply: position(generation, number),
        subject: subject as u32,
        ..Outgoing::bare(segment.acknowledgment, segment.sequence, TcpFlags::ACK | TcpFlags::PSH)
    };
    scratch.send(outgoing, Stat::AnswerGreeting)
}

/// Ends a handshake that was completed with a reset.
#[inline(always)]
fn reset(scratch: &Scratch, segment: &Segment, stat: Stat) -> Answer {
    scratch.send(Outgoing::bare(segment.acknowledgment, 0, TcpFlags::RST), stat)
}

/// Goes on with a session, one CPU at a time.
///
/// # Errors
///
/// The segment is not the session's, but may complete a handshake; the counter for it if it does not.
#[inline(always)]
fn resume(
    context: &XdpContext,
    segment: &Segment,
    scratch: Scratch,
    settings: &Settings,
    flow: *mut Flow,
) -> Result<Answer, Stat> {
    // SAFETY: the entry stays readable while the program runs. If it gives way to another one meanwhile, which the
    // map does with the least recently used only, that one's sender has to send again.
    let (turnstile, flow) = unsafe { (Turnstile::enter(&raw mut (*flow).busy), &mut *flow) };
    let Some(_turnstile) = turnstile else {
        return Ok(Answer::Drop(Stat::DropBusy));
    };
    if flow.phase == PHASE_TAG {
        return Err(Stat::PassCookie);
    }
    converse(context, segment, scratch, settings, flow)
}

#[inline(always)]
fn converse(
    context: &XdpContext,
    segment: &Segment,
    scratch: Scratch,
    settings: &Settings,
    flow: &mut Flow,
) -> Result<Answer, Stat> {
    let reaction = tcp::react(flow, segment).behind(scratch.veil());
    match reaction {
        Reaction::NotOurs => return Err(Stat::PassCookie),
        Reaction::Handshake => return Err(Stat::DropSilent),
        _ => {}
    }
    if !checksum::holds(context) {
        return Ok(Answer::Pass(Stat::PassChecksum));
    }
    if segment.flags.has(TcpFlags::ACK) && segment.acknowledgment == flow.send_next {
        flow.flags |= FLAG_HEARD;
    }
    let (skip, again) = match reaction {
        Reaction::NotOurs | Reaction::Handshake => return Err(Stat::PassCookie),
        Reaction::Silent(stat) => return Ok(Answer::Drop(stat)),
        Reaction::Acknowledge(number) => return Ok(acknowledge(scratch, flow, number)),
        Reaction::Forget => {
            if !flow.is_over() {
                event::ended(&segment.tuple, flow, Ending::Reset, now());
            }
            return Ok(Answer::Forget);
        }
        Reaction::Finish => return Ok(finish(context, segment, scratch, settings, flow, 0)),
        Reaction::Drain(number) => {
            flow.receive_next = number;
            if segment.flags.has(TcpFlags::FIN) {
                flow.flags |= FLAG_FIN_RECEIVED;
            }
            return Ok(acknowledge(scratch, flow, number));
        }
        Reaction::Command(skip) => (skip as usize, false),
        Reaction::Again(skip) => (skip as usize, true),
    };
    let at = segment.payload_at + (skip & OFFSET_MASK);
    let end = segment.payload_at + segment.payload;
    let readable = Linear::of(context).readable();
    let available = if end > readable { readable } else { end }.wrapping_sub(at);
    if available > OFFSET_MASK || at > OFFSET_MASK {
        return Ok(Answer::Drop(Stat::DropIncomplete));
    }
    let veil = scratch.veil();
    let ends = segment.flags.has(TcpFlags::FIN) && end <= readable;
    let input = Input {
        at: veil.over(at),
        available: veil.over(available),
        ends: veil.over(ends.into()) != 0,
        again: veil.over(again.into()) != 0,
    };
    Ok(turn(context, segment, scratch, settings, flow, &input))
}

/// The octets that a session reads next.
struct Input {
    /// Where they start in the frame.
    at: usize,
    /// How many there are.
    available: usize,
    /// Whether the sender's FIN follows them.
    ends: bool,
    /// Whether they were answered before.
    again: bool,
}

/// One command line and its reply.
#[inline(always)]
fn turn(
    context: &XdpContext,
    segment: &Segment,
    scratch: Scratch,
    settings: &Settings,
    flow: &mut Flow,
    input: &Input,
) -> Answer {
    let Some(turn) = smtp::read(context, scratch.veil(), flow, input.at, input.available, input.again) else {
        return Answer::Drop(Stat::DropOutdated);
    };
    let command = match turn {
        Turn::Command(command) => command,
        // the daemon drops an unfinished line at the end of input, too
        Turn::Incomplete if input.ends && !input.again => {
            return finish(context, segment, scratch, settings, flow, input.available as u32);
        }
        Turn::Incomplete => return Answer::Drop(Stat::DropIncomplete),
        Turn::Skipped(octets) => {
            flow.flags |= FLAG_SKIPPING;
            flow.receive_next = flow.receive_next.wrapping_add(octets as u32);
            flow.receive_last = flow.receive_next;
            flow.send_last = flow.send_next;
            if input.ends && octets == input.available {
                return finish(context, segment, scratch, settings, flow, 0);
            }
            return acknowledge(scratch, flow, flow.receive_next);
        }
    };
    let Command { octets, number, next, domain } = command;
    let Some(reply) = smtp::text(flow.generation, settings.generation, number) else {
        return Answer::Drop(Stat::DropOutdated);
    };
    let Some(subject) = smtp::subject(context, scratch, &segment.tuple, number, input.at, domain) else {
        return Answer::Drop(Stat::DropNoRoom);
    };
    let length = reply.length as u32 + subject as u32;
    if input.again {
        return repeat(scratch, segment, flow, subject, length);
    }
    let finishes = input.ends && octets == input.available;
    let closes = finishes || next == Phase::Closing as u8;
    flow.receive_last = flow.receive_next;
    flow.receive_next = flow.receive_next.wrapping_add(octets as u32 + u32::from(finishes));
    flow.send_last = flow.send_next;
    flow.send_next = flow.send_next.wrapping_add(length + u32::from(closes));
    flow.commands = flow.commands.saturating_add(1);
    flow.phase = if closes { Phase::Closing as u8 } else { next };
    flow.last_reply = number;
    flow.flags &= !FLAG_SKIPPING;
    if closes {
        flow.flags |= FLAG_FIN_SENT;
    }
    if finishes {
        flow.flags |= FLAG_FIN_RECEIVED;
    }
    if number == ReplyId::NotOptedIn as u8 || number == ReplyId::NoPtr as u8 {
        smtp::keep_domain(context, flow, input.at, domain);
    }
    if number == ReplyId::TooManyCommands as u8 {
        count(Stat::AlsoTooManyCommands);
    }
    if closes {
        let ending = if number == ReplyId::Quit as u8 {
            Ending::Quit
        } else if next == Phase::Closing as u8 {
            Ending::Dismissed
        } else {
            Ending::Closed
        };
        event::ended(&segment.tuple, flow, ending, now());
    }
    say(scratch, flow, subject, Stat::AnswerReply)
}

/// Sends the last reply again, with a FIN if the sender's came meanwhile.
#[inline(always)]
fn repeat(scratch: Scratch, segment: &Segment, flow: &mut Flow, subject: usize, length: u32) -> Answer {
    let fin = u32::from(flow.flags & FLAG_FIN_SENT != 0);
    if flow.send_last.wrapping_add(length + fin) != flow.send_next {
        // other octets stand there than those that were answered
        return Answer::Drop(Stat::DropSilent);
    }
    let end = segment.sequence.wrapping_add(segment.payload as u32);
    if segment.flags.has(TcpFlags::FIN) && fin == 0 && end == flow.receive_next {
        end_both(segment, flow);
    }
    say(scratch, flow, subject, Stat::AnswerAgain)
}

/// Takes the sender's FIN behind `dropped` octets of an unfinished line, and sends ours: with the greeting, if that may
/// be lost. For a FIN that comes again, so does ours.
#[inline(always)]
fn finish(
    context: &XdpContext,
    segment: &Segment,
    scratch: Scratch,
    settings: &Settings,
    flow: &mut Flow,
    dropped: u32,
) -> Answer {
    if flow.flags & FLAG_FIN_RECEIVED == 0 {
        flow.receive_next = flow.receive_next.wrapping_add(dropped);
        end_both(segment, flow);
        flow.receive_last = flow.receive_next;
    }
    let fin = flow.send_next.wrapping_sub(1);
    if flow.commands == 0
        && flow.flags & FLAG_HEARD == 0
        && let Some(reply) = smtp::text(flow.generation, settings.generation, flow.last_reply)
        && let Some(subject) = smtp::subject(context, scratch, &segment.tuple, flow.last_reply, 0, NO_DOMAIN)
        && flow.send_last.wrapping_add(reply.length as u32 + subject as u32) == fin
    {
        return say(scratch, flow, subject, Stat::AnswerFin);
    }
    let outgoing = Outgoing::bare(fin, flow.receive_next, TcpFlags::ACK | TcpFlags::FIN);
    scratch.send(outgoing, Stat::AnswerFin)
}

/// Both sides have said what they will.
#[inline(always)]
fn end_both(segment: &Segment, flow: &mut Flow) {
    flow.receive_next = flow.receive_next.wrapping_add(1);
    flow.send_next = flow.send_next.wrapping_add(1);
    flow.flags |= FLAG_FIN_RECEIVED | FLAG_FIN_SENT;
    flow.phase = Phase::Closing as u8;
    event::ended(&segment.tuple, flow, Ending::Closed, now());
}

/// The last reply, at its place.
#[inline(always)]
fn say(scratch: Scratch, flow: &Flow, subject: usize, stat: Stat) -> Answer {
    let fin = if flow.flags & FLAG_FIN_SENT != 0 { TcpFlags::FIN } else { 0 };
    let flags = TcpFlags::ACK | TcpFlags::PSH | fin;
    let outgoing = Outgoing {
        reply: position(flow.generation, flow.last_reply),
        subject: subject as u32,
        ..Outgoing::bare(flow.send_last, flow.receive_next, flags)
    };
    scratch.send(outgoing, stat)
}

/// An acknowledgement without data.
#[inline(always)]
fn acknowledge(scratch: Scratch, flow: &Flow, number: u32) -> Answer {
    scratch.send(Outgoing::bare(flow.send_next, number, TcpFlags::ACK), Stat::AnswerAck)
}

/// Where in REPLIES a session's reply lies.
#[inline(always)]
fn position(generation: u8, number: u8) -> u32 {
    reply::index(generation.into(), ReplyId::Greeting) + u32::from(number)
}

#[inline(always)]
const fn is_reset(reason: Reason, refuse_at: u32) -> bool {
    matches!(reason, Reason::NotOptedIn) && refuse_at == REFUSE_AT_RESET
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes no argument and has no precondition.
    unsafe { bpf_ktime_get_ns() }
}

/// Payload with which a handshake can end. Whoever speaks before the greeting says a command or two; segments of a
/// message that the host receives are longer.
const HANDSHAKE_PAYLOAD_MAX: usize = 600;
/// More than any place in a frame that is read; a mask that the verifier understands.
const OFFSET_MASK: usize = 0x3fff;
const EEXIST: i32 = -17;

const STAT_MASK: u32 = 0xff;
const PASS: u32 = 0x100;
const DROP: u32 = 0x200;
const FORGET: u32 = 0x300;
const SEND: u32 = 0x400;
const _: () = assert!(stat::COUNT <= STAT_MASK);
