//! The common dialogue in one function: a SYN, the end of a handshake, one command in one segment,
//! its acknowledgement, the end. What it does not answer it leaves as it is, for the other modules.
//!
//! Its frames have no VLAN tag, no extension header and no padding, and lie in one buffer; their
//! numbers are exactly those that are expected. It answers as the other modules do, octet by octet,
//! and raises the same counters.

use core::ptr;

use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_DROP, XDP_TX},
        xdp_md,
    },
    cty::c_void,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_load_bytes, bpf_xdp_store_bytes},
    programs::XdpContext,
};
use sixgate_common::{
    cookie::{Distance, KEYS, Style},
    domain::mix,
    event::Ending,
    flow::{ARGUMENT_KEPT, MSS, WINDOW},
    refuse::{COMMANDS_MAX, Phase, Reason, ReplyId},
    reply::{self, REPLY_MAX},
    settings::{ANSWER_KERNEL, MODE_ENFORCE, READY, REFUSE_AT_RESET},
    slot::{
        FLAG_ACKNOWLEDGED, FLAG_FIN_RECEIVED, FLAG_FIN_SENT, FLAG_HELD_BACK, FLAG_KEPT, FLAG_SKIPPING, Note,
        OPENED_SHIFT, Slot,
    },
    stat::Stat,
    station::{STATION_ANSWERS, STATION_KEEPS_MARKS, StationKey},
};

use crate::{
    classify::{Decision, classify},
    dialogue::{
        event,
        slots::{self, Held, Search},
    },
    maps::{COOKIES, DOMAINS, REPLIES, STATIONS, answers, count, now, settings},
    parse::{TcpFlags, Tuple},
    verifier::{barrier, nonzero_length},
};

/// A frame of the common form.
struct Frame {
    data: usize,
    end: usize,
    tuple: Tuple,
    /// Octets behind the IPv6 header.
    length: usize,
    sequence: u32,
    acknowledgment: u32,
    /// Data offset, flags and window, as they lie in memory.
    word: u32,
    /// The unfolded sum of the pseudo-header without the length and of the header's 20 octets.
    sum: u64,
    /// The same of the addresses alone, which is that of an answer, too.
    addresses: u64,
}

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
    if payload == 0 && fold(frame.sum + u64::from((TCP_LENGTH as u32).to_be())) != 0xffff {
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
            (true, 0) => finish(&frame, slot),
            (true, _) => None,
        };
    }
    if behind != 0 || flags.has(TcpFlags::FIN) {
        return None;
    }
    command(context, &frame, slot, held.index, payload)
}

/// Reads a frame of the common form.
#[inline(always)]
fn read(context: &XdpContext) -> Option<Frame> {
    let (data, end) = (context.data(), context.data_end());
    if barrier(data + HEADERS) > end {
        return None;
    }
    // SAFETY: the headers' 74 octets lie in the frame, checked above.
    unsafe {
        let first: u64 = get(data, IPV6_AT);
        let ports: u32 = get(data, TCP_AT);
        let [_, _, _, _, high, low, next, _] = first.to_ne_bytes();
        let to: u8 = get(data, 0);
        let multicast: u8 = get(data, IPV6_AT + 24);
        if get::<u16>(data, 12) != IPV6
            || first.to_ne_bytes()[0] >> 4 != 6
            || next != TCP
            || ports.to_be() as u16 != SMTP
            || to & 1 != 0
            || multicast == 0xff
        {
            return None;
        }
        let length = u16::from_be_bytes([high, low]) as usize;
        // no padding, and all in one buffer
        if barrier(end) - barrier(data) != TCP_AT + length || length < TCP_LENGTH {
            return None;
        }
        let tuple = Tuple {
            source: [get(data, IPV6_AT + 8), get(data, IPV6_AT + 16)],
            destination: [get(data, IPV6_AT + 24), get(data, IPV6_AT + 32)],
            source_port: get(data, TCP_AT),
            destination_port: get(data, TCP_AT + 2),
        };
        // what no host sends from is rare
        let [high, low] = tuple.source;
        if u64::from_be(high) >> 56 == 0xff || u64::from_be(high) >> 56 == 0 {
            return None;
        }
        let [c, d] = tuple.destination;
        let addresses =
            halves(high) + halves(low) + halves(c) + halves(d) + u64::from(u32::from(TCP).to_be());
        let (sequence, acknowledgment): (u32, u32) = (get(data, TCP_AT + 4), get(data, TCP_AT + 8));
        let (word, last): (u32, u32) = (get(data, TCP_AT + 12), get(data, TCP_AT + 16));
        // the sum of the pseudo-header alone: left for a device to complete
        if fold(addresses + u64::from((length as u32).to_be())) == last as u16 {
            return None;
        }
        let sum = addresses
            + u64::from(ports)
            + u64::from(sequence)
            + u64::from(acknowledgment)
            + u64::from(word)
            + u64::from(last);
        let (sequence, acknowledgment) = (u32::from_be(sequence), u32::from_be(acknowledgment));
        Some(Frame { data, end, tuple, length, sequence, acknowledgment, word, sum, addresses })
    }
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
    // SAFETY: `ctx` is the context that the kernel handed to this program; the frame was read.
    let (ifindex, high, low): (u32, u32, u16) =
        unsafe { ((*context.ctx).ingress_ifindex, get(frame.data, 0), get(frame.data, 4)) };
    let ([a, b, c, d], [e, f]) = (high.to_ne_bytes(), low.to_ne_bytes());
    let key = StationKey { ifindex, mac: [a, b, c, d, e, f], reserved: [0; 2] };
    // SAFETY: an entry that is replaced while it is read may be seen half old, half new: one SYN is
    // answered by the program instead of the daemon, or the other way round.
    let station = unsafe { STATIONS.get(key) }?;
    if station.flags & (STATION_ANSWERS | STATION_KEEPS_MARKS) != STATION_ANSWERS {
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
    if fold(frame.sum + u64::from((frame.length as u32).to_be()) + options) != 0xffff {
        return None;
    }
    let key = COOKIES.get(settings.cookie & (KEYS - 1)).filter(|key| key.valid != 0)?;
    let tuple = &frame.tuple;
    let cookie = key.addresses(tuple.source, tuple.destination).cookie(tuple.ports(), key.epoch(now()));
    let sequence = frame.sequence.wrapping_add(Style::of(reason, settings.refuse_at).with(cookie));
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
    let difference = frame.acknowledgment.wrapping_sub(frame.sequence);
    // one of the epoch before is rare
    let cookie = addresses.cookie(tuple.ports(), key.epoch(now));
    let reason = match Distance::between(difference, cookie) {
        Some(Distance { style: Style::NotOptedIn, octets: 0 }) => Reason::NotOptedIn,
        Some(Distance { style: Style::NoPtr, octets: 0 }) => Reason::NoPtr,
        _ => return None,
    };
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
    event::begun(tuple, reason as u8, slot.opened_at(now));
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
fn finish(frame: &Frame, slot: &mut Slot) -> Option<u32> {
    if slot.flags & (FLAG_FIN_SENT | FLAG_FIN_RECEIVED) != FLAG_FIN_SENT || slot.line == u16::MAX {
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

/// One whole line and nothing else, with a command that needs no more than its first octets.
#[inline(always)]
fn command(context: &XdpContext, frame: &Frame, slot: &mut Slot, index: u32, payload: usize) -> Option<u32> {
    if slot.flags & UNUSUAL != 0 || u16::from(slot.commands) >= COMMANDS_MAX {
        return None;
    }
    let settings = settings()?;
    let (line_sum, verb) = line(frame, payload)?;
    if fold(frame.sum + u64::from((frame.length as u32).to_be()) + line_sum) != 0xffff {
        return None;
    }
    let phase = slot.phase()?;
    if matches!(phase, Phase::Rejected | Phase::Closing) {
        return None;
    }
    if verb == RCPT {
        let is_next = matches!(phase, Phase::Mail | Phase::Resumed);
        return if is_next { recipient(context, frame, slot, index, payload) } else { None };
    }
    let (number, next) = match verb {
        EHLO => (ReplyId::Ehlo as u8, Phase::Greeted as u8),
        HELO => (ReplyId::Helo as u8, Phase::Greeted as u8),
        MAIL if matches!(phase, Phase::Greeted | Phase::Resumed) && has_from(frame) => {
            (ReplyId::Mail as u8, Phase::Mail as u8)
        }
        QUIT if payload == 6 => (ReplyId::Quit as u8, Phase::Closing as u8),
        _ => return None,
    };
    if !reply::holds(slot.generation, settings.generation) {
        return None;
    }
    let reply = REPLIES.get(reply_index(slot.generation, number))?;
    let length = reply.length as usize;
    if length == 0 || reply.insert_at as usize != length {
        return None;
    }
    let closes = next == Phase::Closing as u8;
    let link = Link::of_frame(frame)?;
    let (slot, note) = slots::of_caller(index)?;
    if verb == MAIL && (note.refused != 0 || keep_sender(context, note, payload).is_none()) {
        return None;
    }
    if !grow(context, length, payload) {
        return None;
    }
    let segment = Segment {
        sequence: frame.acknowledgment,
        acknowledgment: frame.sequence.wrapping_add(payload as u32),
        header: TCP_LENGTH,
        flags: TcpFlags::ACK | TcpFlags::PSH | if closes { TcpFlags::FIN } else { 0 },
        payload: length,
        sum: u64::from(reply.sum),
    };
    slot.line = payload as u16;
    slot.receive_next = segment.acknowledgment;
    slot.reply = length as u16 + u16::from(closes);
    slot.send_next = frame.acknowledgment.wrapping_add(u32::from(slot.reply));
    slot.commands += 1;
    slot.acknowledgments = 0;
    slot.set_phase(next);
    slot.last_reply = number;
    slot.flags |= FLAG_ACKNOWLEDGED;
    if closes {
        slot.flags |= FLAG_FIN_SENT;
        event::ended(&frame.tuple, slot, note, Ending::Quit, now());
    }
    Some(send(context, frame, &link, &segment, reply.text.as_ptr(), Stat::AnswerReply))
}

/// A recipient whose domain is a name, of a destination that has not opted in: the first one of its
/// transaction.
#[inline(always)]
fn recipient(
    context: &XdpContext,
    frame: &Frame,
    slot: &mut Slot,
    index: u32,
    payload: usize,
) -> Option<u32> {
    let (slot, note) = match (slots::of_caller(index)?, slot.reason()) {
        (both, Some(Reason::NotOptedIn)) => both,
        _ => return None,
    };
    let text = payload - CRLF_LENGTH;
    if note.refused != 0 || text < RCPT_TO + 4 || barrier(frame.data + HEADERS + RCPT_TO + 4) > frame.end {
        return None;
    }
    // SAFETY: the line's twelve octets lie in the frame, checked above.
    let (to, colon): (u16, u8) = unsafe { (get(frame.data, HEADERS + 5), get(frame.data, HEADERS + 7)) };
    if to & UPPER_CASE as u16 != TO || colon != b':' {
        return None;
    }
    let at = match sixgate_only_at(context.ctx, payload as u32) {
        0 => return None,
        at => at as usize,
    };
    // behind the `@`, before the `>`
    let length = text.wrapping_sub(at + 2);
    let length = nonzero_length::<DOMAIN_MAX>(length)?;
    let argument = nonzero_length::<ARGUMENT_KEPT>(text - RCPT_TO)?;
    // SAFETY: the note has `ARGUMENT_KEPT` octets, and `argument` is at most that; the kernel checks
    // that the frame has them.
    let loaded = unsafe {
        let kept = note.recipient.as_mut_ptr().cast::<c_void>();
        bpf_xdp_load_bytes(context.ctx, (HEADERS + RCPT_TO) as u32, kept, argument as u32)
    };
    note.recipient_length = argument as u8;
    if loaded != 0 {
        return None;
    }
    // SAFETY: the note has as many octets behind its first recipient's octet as offset, longest
    // domain and a word together, asserted below.
    let domain = unsafe { note.recipient.as_ptr().add(barrier(at + 1 - RCPT_TO) & DOMAIN_MASK) };
    let domain_sum = match sixgate_name(index, (at + 1 - RCPT_TO) as u32, length as u32) {
        NO_NAME => return None,
        sum => sum as u16,
    };
    let number = ReplyId::NotOptedIn as u8;
    let reply = REPLIES.get(reply_index(slot.generation, number))?;
    let (whole, before) = (reply.length as usize, reply.insert_at as usize);
    let link = Link::of_frame(frame)?;
    let total = whole + length;
    if before >= whole || !grow(context, total, payload) {
        return None;
    }
    // what is behind an odd number of octets has its octets in the other halves (RFC 1071 2, (B))
    let shifted = |sum: u16, octets: usize| u64::from(if octets & 1 == 0 { sum } else { sum.swap_bytes() });
    let sum = u64::from(reply.sum as u16)
        + shifted(domain_sum, before)
        + shifted((reply.sum >> 16) as u16, before + length);
    let segment = Segment {
        sequence: frame.acknowledgment,
        acknowledgment: frame.sequence.wrapping_add(payload as u32),
        header: TCP_LENGTH,
        flags: TcpFlags::ACK | TcpFlags::PSH,
        payload: total,
        sum,
    };
    let data = context.data();
    if barrier(data + HEADERS) > context.data_end() {
        count(Stat::DropNoRoom);
        return Some(XDP_DROP);
    }
    segment.write(data, &link, frame);
    // The whole text as far back as its end belongs, then the part before the domain, then the
    // domain.
    let text = reply.text.as_ptr();
    store::<REPLY_MAX>(context, HEADERS + length, text, whole);
    store::<REPLY_MAX>(context, HEADERS, text, before);
    store::<DOMAIN_MAX>(context, HEADERS + before, domain, length);
    note.refused = number;
    slot.line = payload as u16;
    slot.receive_next = segment.acknowledgment;
    slot.reply = total as u16;
    slot.send_next = frame.acknowledgment.wrapping_add(total as u32);
    slot.commands += 1;
    slot.acknowledgments = 0;
    slot.set_phase(Phase::Mail as u8);
    slot.last_reply = number;
    slot.flags |= FLAG_ACKNOWLEDGED;
    count(Stat::AnswerReply);
    Some(XDP_TX)
}

/// Where the only `@` of the line stands, which ends in the only `>` and has nothing quoted; 0 if the
/// line is another one. A function that the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_only_at(context: *mut xdp_md, payload: u32) -> u32 {
    if !answers() {
        return 0;
    }
    let context = XdpContext::new(context);
    only_at(context.data(), context.data_end(), payload as usize).map_or(0, |at| at as u32)
}

#[inline(always)]
fn only_at(data: usize, end: usize, payload: usize) -> Option<usize> {
    if !(6..=LINE_MAX).contains(&payload) {
        return None;
    }
    let text = payload - CRLF_LENGTH;
    let (mut at, mut found, mut many, mut other) = (0, 0, 0, 0);
    for index in 1..LINE_MAX / 8 {
        if index * 8 + 8 > text || barrier(data + HEADERS + index * 8 + 8) > end {
            break;
        }
        // SAFETY: the eight octets lie in the frame, checked above.
        let word = u64::from_le(unsafe { get(data, HEADERS + index * 8) });
        let here = octets_equal(word, b'@');
        if here != 0 {
            many |= found;
            (found, at) = (here, index * 8);
        }
        // the line's last octet is looked at below
        let is_last = if text == index * 8 + 8 { 0x80 << 56 } else { 0 };
        other |= octets_equal(word, b'"') | octets_equal(word, b'\\') | octets_equal(word, b'>') & !is_last;
    }
    let last = data + (barrier(HEADERS + payload - 10) & OFFSET_MASK);
    if barrier(last + 8) > end {
        return None;
    }
    // SAFETY: the eight octets lie in the frame, checked above.
    let word = u64::from_le(unsafe { get(last, 0) });
    if word >> 56 != u64::from(b'>') {
        return None;
    }
    let rest = text as u32 % 8;
    if rest != 0 {
        let word = word >> (64 - 8 * rest);
        let here = octets_equal(word, b'@');
        if here != 0 {
            many |= found;
            (found, at) = (here, text & !7);
        }
        let is_last = 0x80 << (8 * (rest - 1));
        other |= octets_equal(word, b'"') | octets_equal(word, b'\\') | octets_equal(word, b'>') & !is_last;
    }
    if found == 0 || many | other != 0 || found & (found - 1) != 0 {
        return None;
    }
    // the number of octets below the one bit that is set
    Some(at + ((found >> 7).wrapping_mul(0x0001_0203_0405_0607) >> 56) as usize)
}

/// The folded sum of a domain's octets, if it is a name of letters, digits, and single dots and
/// hyphens between them, and its refusal is not temporary; [`NO_NAME`] otherwise. The domain is at
/// `at` of the recipient in the note of that index. A function that the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_name(index: u32, at: u32, length: u32) -> u32 {
    let Some((_, note)) = slots::of_caller(index).filter(|_| answers()) else {
        return NO_NAME;
    };
    // SAFETY: the note has as many octets behind its first recipient's octet as offset, longest
    // domain and a word together, asserted below.
    let domain = unsafe { note.recipient.as_ptr().add(barrier(at as usize) & DOMAIN_MASK) };
    match name(domain, length as usize) {
        // SAFETY: only that there is an entry matters.
        Some((key, sum)) if unsafe { DOMAINS.get(key) }.is_none() => fold(sum).into(),
        _ => NO_NAME,
    }
}

/// The key of a domain in DOMAINS and the sum of its octets.
#[inline(always)]
fn name(domain: *const u8, length: usize) -> Option<(u64, u64)> {
    let (mut hash, mut sum, mut bad, mut before, mut left) = (length as u64, 0, 0x80, 0, 0);
    for index in 0..DOMAIN_WORDS {
        if index * 8 >= length {
            break;
        }
        let rest = length - index * 8;
        // SAFETY: the caller's.
        let word = u64::from_le(unsafe { ptr::read_unaligned(domain.add(index * 8).cast::<u64>()) });
        let mask = if rest >= 8 { u64::MAX } else { !(u64::MAX << (8 * rest)) };
        let octets = word & mask;
        let filled = octets | LETTERS & !mask;
        let marks = between(filled, b'-', b'.');
        let lower = filled | BLANKS;
        let known = between(lower, b'a', b'z') | between(filled, b'0', b'9') | marks;
        // a mark at the beginning, behind another one, or at the end
        bad &= if index == 0 { !marks } else { u64::MAX };
        left |= known ^ (ONES << 7) | filled & (ONES << 7) | marks & marks << 8 | marks & before >> 56;
        before = if rest >= 8 { marks } else { marks << (64 - 8 * rest) };
        sum += halves(octets.to_le());
        hash = mix(hash, octets);
    }
    if length.is_multiple_of(8) {
        hash = mix(hash, 0);
    }
    if left != 0 || bad == 0 || before >> 63 != 0 { None } else { Some((hash, sum)) }
}

/// 0x80 in each octet that is equal to `octet`.
#[inline(always)]
const fn octets_equal(word: u64, octet: u8) -> u64 {
    let word = word ^ ONES * octet as u64;
    !(((word & !(ONES << 7)) + !(ONES << 7)) | word | !(ONES << 7))
}

/// 0x80 in each octet between both, if all octets are below 0x80.
#[inline(always)]
const fn between(word: u64, first: u8, last: u8) -> u64 {
    let word = word & !(ONES << 7);
    (word + ONES * (0x80 - first as u64)) & !(word + ONES * (0x7f - last as u64)) & ONES << 7
}

/// Whether `FROM:` follows MAIL.
#[inline(always)]
fn has_from(frame: &Frame) -> bool {
    if barrier(frame.data + HEADERS + MAIL_FROM) > frame.end {
        return false;
    }
    // SAFETY: the line's ten octets lie in the frame, checked above.
    let (word, colon): (u32, u8) = unsafe { (get(frame.data, HEADERS + 5), get(frame.data, HEADERS + 9)) };
    word & UPPER_CASE == FROM && colon == b':'
}

/// Keeps the argument of MAIL for the log.
#[inline(always)]
fn keep_sender(context: &XdpContext, note: &mut Note, payload: usize) -> Option<()> {
    let argument = payload.wrapping_sub(MAIL_FROM + CRLF_LENGTH);
    let length = nonzero_length::<ARGUMENT_KEPT>(argument)?;
    // SAFETY: the note has `ARGUMENT_KEPT` octets, and `length` is at most that; the kernel checks
    // that the frame has them.
    let loaded = unsafe {
        let kept = note.sender.as_mut_ptr().cast::<c_void>();
        bpf_xdp_load_bytes(context.ctx, (HEADERS + MAIL_FROM) as u32, kept, length as u32)
    };
    note.sender_length = length as u8;
    note.recipient_length = 0;
    (loaded == 0).then_some(())
}

/// The sum of the payload, if it is one line, and the line's first four octets as capital letters.
#[inline(always)]
fn line(frame: &Frame, payload: usize) -> Option<(u64, u32)> {
    if !(6..=LINE_MAX).contains(&payload) {
        return None;
    }
    let text = payload - CRLF_LENGTH;
    let (mut sum, mut low) = (0, 0);
    for index in 0..LINE_MAX / 8 {
        if index * 8 + 8 > text || barrier(frame.data + HEADERS + index * 8 + 8) > frame.end {
            break;
        }
        // SAFETY: the eight octets lie in the frame, checked above.
        let word: u64 = unsafe { get(frame.data, HEADERS + index * 8) };
        sum += halves(word);
        low |= has_control(word);
    }
    // The last few octets, and the line's end: eleven octets that end with the payload, of which the
    // first ones are known.
    let last = frame.data + (barrier(HEADERS + payload - 10) & OFFSET_MASK);
    if barrier(last + 10) > frame.end {
        return None;
    }
    let rest = text as u32 % 8;
    // SAFETY: the ten octets lie in the frame, checked above.
    let (word, crlf): (u64, u16) = unsafe { (get(last, 0), get(last, 8)) };
    let word = if rest == 0 { BLANKS } else { u64::from_le(word) >> (64 - 8 * rest) | BLANKS << (8 * rest) };
    low |= has_control(word);
    if low != 0 || crlf != CRLF {
        return None;
    }
    let kept = if rest == 0 { 0 } else { word & !(u64::MAX << (8 * rest)) };
    sum += halves(kept.to_le());
    // an odd octet before it shifts the line's end (RFC 1071 2, (B))
    sum += u64::from(if text.is_multiple_of(2) { CRLF } else { CRLF.swap_bytes() });
    if barrier(frame.data + HEADERS + 6) > frame.end {
        return None;
    }
    // SAFETY: the six octets lie in the frame, checked above.
    let (verb, next): (u32, u16) = unsafe { (get(frame.data, HEADERS), get(frame.data, HEADERS + 4)) };
    let verb = verb & UPPER_CASE;
    // QUIT alone has nothing behind it; the others have a blank and a word
    let [blank, letter] = next.to_ne_bytes();
    if verb != QUIT && (blank != b' ' || letter <= b' ' || payload < 8) {
        return None;
    }
    Some((sum, verb))
}

/// A segment to be sent.
struct Segment {
    sequence: u32,
    acknowledgment: u32,
    header: usize,
    flags: u8,
    payload: usize,
    /// The sum of what is behind the header of 20 octets.
    sum: u64,
}

/// Both Ethernet addresses, in pieces that fit a register.
struct Link {
    first: u64,
    second: u32,
}

impl Link {
    #[inline(always)]
    fn of(data: usize) -> Self {
        // SAFETY: the caller checked that the headers lie in the frame.
        unsafe { Self { first: get(data, 0), second: get(data, 8) } }
    }

    /// The same, with the check.
    #[inline(always)]
    fn of_frame(frame: &Frame) -> Option<Self> {
        if barrier(frame.data + HEADERS) > frame.end {
            return None;
        }
        Some(Self::of(frame.data))
    }
}

impl Segment {
    /// Writes all headers at `data`, where the caller checked that they lie in the frame; the
    /// Ethernet addresses of the frame that is answered are exchanged, and so are its ends.
    #[inline(always)]
    fn write(&self, data: usize, link: &Link, frame: &Frame) {
        let Tuple { source: [a, b], destination: [c, d], source_port, destination_port } = frame.tuple;
        let length = (self.header + self.payload) as u16;
        let ports = u32::from(destination_port) | u32::from(source_port) << 16;
        let (sequence, acknowledgment) = (self.sequence.to_be(), self.acknowledgment.to_be());
        let [high, low] = WINDOW.to_be_bytes();
        let word = u32::from_ne_bytes([(self.header as u8 / 4) << 4, self.flags, high, low]);
        let [length_high, length_low] = length.to_be_bytes();
        let sum = frame.addresses
            + u64::from(u32::from(length).to_be())
            + u64::from(ports)
            + u64::from(sequence)
            + u64::from(acknowledgment)
            + u64::from(word)
            + self.sum;
        // SAFETY: the caller's.
        unsafe {
            put(data, 0, link.first >> 48 | u64::from(link.second) << 16 | link.first << 48);
            put(data, 8, (link.first >> 16) as u32);
            put(data, 12, IPV6);
            put(data, IPV6_AT, u64::from_ne_bytes([0x60, 0, 0, 0, length_high, length_low, TCP, HOP_LIMIT]));
            put(data, IPV6_AT + 8, c);
            put(data, IPV6_AT + 16, d);
            put(data, IPV6_AT + 24, a);
            put(data, IPV6_AT + 32, b);
            put(data, TCP_AT, ports);
            put(data, TCP_AT + 4, sequence);
            put(data, TCP_AT + 8, acknowledgment);
            put(data, TCP_AT + 12, word);
            put(data, TCP_AT + 16, u32::from(!fold(sum)));
        }
    }
}

/// Makes the frame long enough for `length` octets in place of `payload`; whether that could be
/// done. From then on it is no longer the frame that was received.
#[inline(always)]
fn grow(context: &XdpContext, length: usize, payload: usize) -> bool {
    // SAFETY: `ctx` is the context that the kernel handed to this program; pointers into the packet
    // are taken anew after it.
    unsafe { bpf_xdp_adjust_head(context.ctx, payload as i32 - length as i32) == 0 }
}

/// Sends a segment with the text of a reply, in the frame that was made as long.
#[inline(always)]
fn send(
    context: &XdpContext,
    frame: &Frame,
    link: &Link,
    segment: &Segment,
    text: *const u8,
    stat: Stat,
) -> u32 {
    let data = context.data();
    if barrier(data + HEADERS) > context.data_end() {
        count(Stat::DropNoRoom);
        return XDP_DROP;
    }
    segment.write(data, link, frame);
    store::<REPLY_MAX>(context, HEADERS, text, segment.payload);
    count(stat);
    XDP_TX
}

/// Stores `length` octets of `octets`, which has `BOUND`, at least. The length is compared here, since
/// verifiers forget what they learned of a number that was put on the stack. What does not fit is
/// left out, and what there was is sent: a checksum that does not hold.
#[inline(always)]
fn store<const BOUND: usize>(context: &XdpContext, at: usize, octets: *const u8, length: usize) {
    if let Some(length) = nonzero_length::<BOUND>(length) {
        // SAFETY: `octets` has `BOUND` octets, and `length` is at most that; the kernel checks that
        // they lie in the frame.
        unsafe { bpf_xdp_store_bytes(context.ctx, at as u32, octets as *mut c_void, length as u32) };
    }
}

#[inline(always)]
fn reply_index(generation: u8, number: u8) -> u32 {
    reply::index(generation.into(), ReplyId::Greeting) + u32::from(number)
}

/// Two 32-bit words as one sum.
#[inline(always)]
const fn halves(word: u64) -> u64 {
    (word & 0xffff_ffff) + (word >> 32)
}

/// A sum in 16 bits.
#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let sum = halves(sum);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// Not 0 if an octet below a blank is among the eight.
#[inline(always)]
const fn has_control(word: u64) -> u64 {
    word.wrapping_sub(BLANKS) & !word & (ONES << 7)
}

/// Reads a number of the frame.
#[inline(always)]
unsafe fn get<T>(data: usize, at: usize) -> T {
    // SAFETY: the caller checked that it lies in the frame.
    unsafe { ptr::read_unaligned((data + at) as *const T) }
}

/// Writes a number into the frame.
#[inline(always)]
unsafe fn put<T>(data: usize, at: usize, value: T) {
    // SAFETY: the caller checked that it lies in the frame.
    unsafe { ptr::write_unaligned((data + at) as *mut T, value) };
}

/// What makes a session unusual: its lines came in pieces, or are too long, or it ends.
const UNUSUAL: u8 = FLAG_SKIPPING | FLAG_HELD_BACK | FLAG_KEPT | FLAG_FIN_SENT | FLAG_FIN_RECEIVED;
const IPV6_AT: usize = 14;
const TCP_AT: usize = IPV6_AT + 40;
const TCP_LENGTH: usize = 20;
/// Octets of all headers without options.
const HEADERS: usize = TCP_AT + TCP_LENGTH;
const OPTIONS_MAX: usize = 40;
/// Longest line that is read here.
const LINE_MAX: usize = 96;
/// Covers each offset in such a frame.
const OFFSET_MASK: usize = 0xff;
const CRLF_LENGTH: usize = 2;
const CRLF: u16 = u16::from_ne_bytes(*b"\r\n");
const IPV6: u16 = 0x86dd_u16.to_be();
const TCP: u8 = 6;
const SMTP: u16 = 25;
const HOP_LIMIT: u8 = 64;
/// Octets that an acknowledgement can be behind.
const NEAR: u32 = 1 << 16;
const ONES: u64 = 0x0101_0101_0101_0101;
const BLANKS: u64 = ONES * b' ' as u64;
const UPPER_CASE: u32 = 0xdfdf_dfdf;
const EHLO: u32 = u32::from_ne_bytes(*b"EHLO");
const HELO: u32 = u32::from_ne_bytes(*b"HELO");
const MAIL: u32 = u32::from_ne_bytes(*b"MAIL");
const FROM: u32 = u32::from_ne_bytes(*b"FROM");
/// Octets of `MAIL FROM:`.
const MAIL_FROM: usize = 10;
const RCPT: u32 = u32::from_ne_bytes(*b"RCPT");
const TO: u16 = u16::from_ne_bytes(*b"TO");
/// Octets of `RCPT TO:`.
const RCPT_TO: usize = 8;
/// Longest domain that is read here: one label has no more octets (RFC 1035 2.3.4).
const DOMAIN_MAX: usize = 63;
const DOMAIN_WORDS: usize = 8;
/// Covers where a domain begins in the argument.
const DOMAIN_MASK: usize = 0x7f;
const _: () = assert!(DOMAIN_MASK + DOMAIN_WORDS * 8 <= 2 * ARGUMENT_KEPT);
/// No sum in 16 bits.
const NO_NAME: u32 = u32::MAX;
const LETTERS: u64 = ONES * b'a' as u64;
const QUIT: u32 = u32::from_ne_bytes(*b"QUIT");
/// The maximum segment size option (RFC 9293 3.2).
const MSS_OPTION: u32 = u32::from_ne_bytes([2, 4, (MSS >> 8) as u8, MSS as u8]);
