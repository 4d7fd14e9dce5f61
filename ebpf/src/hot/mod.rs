//! The common dialogue in one function: a SYN, the end of a handshake, one command in one segment,
//! its acknowledgement, the end. What it does not answer it leaves as it is, for the other modules.
//!
//! Its frames have no VLAN tag, no extension header and no padding, and lie in one buffer; their
//! numbers are exactly those that are expected. It answers as the other modules do, octet by octet,
//! and raises the same counters. `frame` reads and writes, `command` answers a line, `recipient`
//! the one of RCPT.

mod command;
mod frame;
mod recipient;

use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_DROP, XDP_TX},
        xdp_md,
    },
    programs::XdpContext,
};
use sixgate_common::{
    cookie::{Distance, KEYS, Style},
    flow::MSS,
    refuse::{Phase, Reason, ReplyId},
    reply,
    settings::{ANSWER_KERNEL, MODE_ENFORCE, READY, REFUSE_AT_RCPT, REFUSE_AT_RESET},
    slot::{FLAG_ACKNOWLEDGED, FLAG_FIN_RECEIVED, FLAG_FIN_SENT, OPENED_SHIFT, Slot},
    stat::Stat,
    station::{STATION_ANSWERS, STATION_KEEPS_MARKS, STATION_LOSES_MARKS, StationEntry, StationKey},
};

use self::{
    command::command,
    frame::{Frame, HEADERS, Link, Segment, TCP_AT, TCP_LENGTH, get, grow, put, read, send},
};
use crate::{
    classify::{Decision, classify},
    dialogue::slots::{self, Held, Search},
    maps::{COOKIES, REPLIES, STATIONS, answers, count, now, settings},
    parse::TcpFlags,
    verifier::barrier,
};

/// The action, if the frame is one of the common dialogue, or [`NONE`]; it is left as it was
/// otherwise. A function of its own, so that its stack is free again for the other modules.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn sixgate_hot(context: *mut xdp_md) -> u32 {
    if !answers() {
        return NONE;
    }
    answer(&XdpContext::new(context)).unwrap_or(NONE)
}

/// Not an action.
pub(crate) const NONE: u32 = u32::MAX;

#[inline(always)]
fn answer(context: &XdpContext) -> Option<u32> {
    let frame = read(context)?;
    let flags = TcpFlags((frame.word.to_be() >> 16) as u8);
    let header = (frame.word.to_be() >> 28) as usize * 4;
    if flags.is_opening() {
        return open(context, &frame, header);
    }
    if header != TCP_LENGTH || flags.0 & (TcpFlags::SYN | TcpFlags::RST | TcpFlags::ACK) != TcpFlags::ACK {
        return None;
    }
    let payload = frame.length - TCP_LENGTH;
    if payload == 0 && !frame.holds(0) {
        return None;
    }
    let mut held = Held::NONE;
    match slots::find(&frame.tuple, &mut held) {
        Search::Found => {}
        Search::Missing if payload == 0 && !flags.has(TcpFlags::FIN) => return greet(context, &frame),
        Search::Missing | Search::Busy => return None,
    }
    let slot = held.slot()?;
    if frame.sequence != slot.receive_next {
        return None;
    }
    let behind = slot.send_next.wrapping_sub(frame.acknowledgment);
    if payload == 0 {
        return match (flags.has(TcpFlags::FIN), behind) {
            (false, _) => acknowledged(slot, behind),
            (true, 0) => finish(context, &frame, slot),
            (true, _) => None,
        };
    }
    if behind != 0 || flags.has(TcpFlags::FIN) {
        return None;
    }
    command(context, &frame, slot, held.index, payload)
}
/// A SYN with options and without data, to a destination that is refused: its answer has the same
/// length.
#[inline(always)]
fn open(context: &XdpContext, frame: &Frame, header: usize) -> Option<u32> {
    if header != frame.length || header < TCP_LENGTH + 4 {
        return None;
    }
    let settings = settings()?;
    if settings.mode != MODE_ENFORCE || settings.answer != ANSWER_KERNEL || settings.ready != READY {
        return None;
    }
    let station = station(context, frame.data, frame.end)?;
    if station.flags & (STATION_ANSWERS | STATION_KEEPS_MARKS) != STATION_ANSWERS
        || station.flags & STATION_LOSES_MARKS == 0 && frame.is_unfinished()
    {
        return None;
    }
    let Decision::Refuse(reason) = classify(settings, &frame.tuple) else {
        return None;
    };
    if matches!(reason, Reason::NotOptedIn) && settings.refuse_at == REFUSE_AT_RESET {
        return None;
    }
    let mut options = 0;
    for index in 0..OPTIONS_MAX / 4 {
        let at = TCP_AT + TCP_LENGTH + index * 4;
        if barrier(frame.data + at + 4) > frame.end {
            break;
        }
        // SAFETY: the four octets lie in the frame, checked above.
        options += u64::from(unsafe { get::<u32>(frame.data, at) });
    }
    if !frame.holds(options) {
        return None;
    }
    let key = COOKIES.get(settings.cookie & (KEYS - 1)).filter(|key| key.valid != 0)?;
    let tuple = &frame.tuple;
    let cookie = key.addresses(tuple.source, tuple.destination).cookie(tuple.ports(), key.epoch(now()));
    let sequence =
        frame.sequence.wrapping_add(cookie.value(frame.sequence, Style::of(reason, settings.refuse_at)));
    for index in 0..OPTIONS_MAX / 4 {
        let at = TCP_AT + TCP_LENGTH + index * 4;
        if barrier(frame.data + at + 4) > frame.end {
            break;
        }
        // the MSS, then the end of options
        let option = if index == 0 { MSS_OPTION } else { 0 };
        // SAFETY: the four octets lie in the frame, checked above.
        unsafe { put(frame.data, at, option) };
    }
    let segment = Segment {
        sequence,
        acknowledgment: frame.sequence.wrapping_add(1),
        header,
        flags: TcpFlags::SYN | TcpFlags::ACK,
        payload: 0,
        sum: u64::from(MSS_OPTION),
    };
    if barrier(frame.data + HEADERS) > frame.end {
        return None;
    }
    segment.write(frame.data, &Link::of(frame.data), frame);
    count(Stat::AnswerSyn);
    Some(XDP_TX)
}

/// The station that the frame is for, if it is one of this host's.
#[inline(always)]
fn station(context: &XdpContext, data: usize, end: usize) -> Option<&'static StationEntry> {
    if barrier(data + MAC_LENGTH) > end {
        return None;
    }
    // SAFETY: `ctx` is the context that the kernel handed to this program; the six octets lie in
    // the frame, checked above.
    let (ifindex, high, low): (u32, u32, u16) =
        unsafe { ((*context.ctx).ingress_ifindex, get(data, 0), get(data, 4)) };
    let ([a, b, c, d], [e, f]) = (high.to_ne_bytes(), low.to_ne_bytes());
    let key = StationKey { ifindex, mac: [a, b, c, d, e, f], reserved: [0; 2] };
    // SAFETY: an entry that is replaced while it is read may be seen half old, half new: one frame
    // is answered by the program instead of the daemon, or the other way round.
    unsafe { STATIONS.get(key) }
}

/// Whether the frame may be answered with a complete checksum and no trailer: its own is complete,
/// too, or the kernel's mark of an unfinished one is lost with the answer. Where that may stay, the
/// other modules find the right position for the answer.
#[inline(always)]
fn may_be_answered(context: &XdpContext, frame: &Frame) -> bool {
    !frame.is_unfinished() || sixgate_loses_marks(context.ctx) != 0
}

/// Whether the frame's station has [`STATION_LOSES_MARKS`]. A function that the verifier follows
/// once, apart from what a sender in another network needs.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_loses_marks(context: *mut xdp_md) -> u32 {
    if !answers() {
        return 0;
    }
    let context = XdpContext::new(context);
    let station = station(&context, context.data(), context.data_end());
    station.is_some_and(|station| station.flags & STATION_LOSES_MARKS != 0).into()
}

/// An acknowledgement without a session: perhaps the end of a handshake.
#[inline(always)]
fn greet(context: &XdpContext, frame: &Frame) -> Option<u32> {
    let settings = settings()?;
    if settings.mode != MODE_ENFORCE || settings.answer != ANSWER_KERNEL || settings.ready != READY {
        return None;
    }
    let key = COOKIES.get(settings.cookie & (KEYS - 1)).filter(|key| key.valid != 0)?;
    let (now, tuple) = (now(), &frame.tuple);
    let addresses = key.addresses(tuple.source, tuple.destination);
    // one of the epoch before is rare
    let cookie = addresses.cookie(tuple.ports(), key.epoch(now));
    let reason = match Distance::between(frame.sequence, frame.acknowledgment, &cookie) {
        Some(distance) if distance.is_exact() && distance.style.refuse_at() == REFUSE_AT_RCPT => {
            distance.style.reason()
        }
        _ => return None,
    };
    if !may_be_answered(context, frame) {
        return None;
    }
    let generation = settings.generation as u8;
    let reply = REPLIES.get(reply_index(generation, ReplyId::Greeting as u8))?;
    let length = reply.length as usize;
    if length == 0 || reply.insert_at as usize != length {
        return None;
    }
    let link = Link::of_frame(frame)?;
    if !grow(context, length, 0) {
        return None;
    }
    let opened = (now >> OPENED_SHIFT) as u32;
    let state = Slot::state_of(reason as u8, Phase::Connected as u8);
    let mut held = Held::NONE;
    let is_taken = slots::take(tuple, state, opened, &mut held);
    let (true, Some((slot, note))) = (is_taken, slots::of_caller(held.index)) else {
        count(Stat::DropBusy);
        return Some(XDP_DROP);
    };
    slot.receive_next = frame.sequence;
    slot.send_next = frame.acknowledgment.wrapping_add(length as u32);
    slot.line = 0;
    slot.reply = length as u16;
    slot.commands = 0;
    slot.last_reply = ReplyId::Greeting as u8;
    slot.generation = generation;
    slot.flags = 0;
    slot.acknowledgments = 0;
    note.kept = 0;
    note.kept_last = 0;
    note.skipped = 0;
    note.refused = 0;
    note.sender_length = 0;
    note.recipient_length = 0;
    count(match reason {
        Reason::NotOptedIn => Stat::AlsoBegunNotOptedIn,
        Reason::NoPtr => Stat::AlsoBegunNoPtr,
    });
    let segment = Segment {
        sequence: frame.acknowledgment,
        acknowledgment: frame.sequence,
        header: TCP_LENGTH,
        flags: TcpFlags::ACK | TcpFlags::PSH,
        payload: length,
        sum: u64::from(reply.sum),
    };
    Some(send(context, frame, &link, &segment, reply.text.as_ptr(), Stat::AnswerGreeting))
}

/// An acknowledgement in a session, of all but `behind` octets.
#[inline(always)]
fn acknowledged(slot: &mut Slot, behind: u32) -> Option<u32> {
    if behind > NEAR {
        return None;
    }
    if behind == 0 {
        slot.flags |= FLAG_ACKNOWLEDGED;
    }
    count(Stat::DropSilent);
    Some(XDP_DROP)
}

/// The sender's end, after ours was acknowledged.
#[inline(always)]
fn finish(context: &XdpContext, frame: &Frame, slot: &mut Slot) -> Option<u32> {
    if slot.flags & (FLAG_FIN_SENT | FLAG_FIN_RECEIVED) != FLAG_FIN_SENT || slot.line == u16::MAX {
        return None;
    }
    if !may_be_answered(context, frame) {
        return None;
    }
    if barrier(frame.data + HEADERS) > frame.end {
        return None;
    }
    slot.receive_next = slot.receive_next.wrapping_add(1);
    slot.line += 1;
    slot.flags |= FLAG_FIN_RECEIVED | FLAG_ACKNOWLEDGED;
    let segment = Segment {
        sequence: slot.send_next,
        acknowledgment: slot.receive_next,
        header: TCP_LENGTH,
        flags: TcpFlags::ACK,
        payload: 0,
        sum: 0,
    };
    segment.write(frame.data, &Link::of(frame.data), frame);
    count(Stat::AnswerAck);
    Some(XDP_TX)
}
#[inline(always)]
fn reply_index(generation: u8, number: u8) -> u32 {
    reply::index(generation.into(), ReplyId::Greeting) + u32::from(number)
}
const OPTIONS_MAX: usize = 40;
/// Octets of an Ethernet address.
const MAC_LENGTH: usize = 6;
/// Octets that an acknowledgement can be behind.
const NEAR: u32 = 1 << 16;
/// The maximum segment size option (RFC 9293 3.2).
const MSS_OPTION: u32 = u32::from_ne_bytes([2, 4, (MSS >> 8) as u8, MSS as u8]);
