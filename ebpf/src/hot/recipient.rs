//! The line of RCPT, and the reply with its domain.
//!
//! Lines with quotes, several `@` or a domain that is not plainly a name are left to the other
//! modules, and so are temporary refusals.

use core::ptr;

use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_DROP, XDP_TX},
        xdp_md,
    },
    cty::c_void,
    helpers::generated::bpf_xdp_load_bytes,
    programs::XdpContext,
};
use sixgate_common::{
    domain::mix,
    flow::ARGUMENT_KEPT,
    refuse::{Phase, Reason, ReplyId},
    reply::REPLY_MAX,
    slot::{FLAG_ACKNOWLEDGED, Slot},
    stat::Stat,
};

use super::{
    command::{BLANKS, CRLF_LENGTH, LINE_MAX, OFFSET_MASK, ONES, UPPER_CASE},
    frame::{Frame, HEADERS, Link, Segment, TCP_LENGTH, fold, get, grow, halves, store},
    reply_index,
};
use crate::{
    dialogue::slots,
    maps::{DOMAINS, REPLIES, answers, count},
    parse::TcpFlags,
    verifier::{barrier, nonzero_length},
};

/// A recipient whose domain is a name, of a destination that has not opted in: the first one of its
/// transaction.
#[inline(always)]
pub(super) fn recipient(
    context: &XdpContext,
    frame: &Frame,
    slot: &mut Slot,
    index: u32,
    payload: usize,
) -> Option<u32> {
    let (slot, note) = match slot.reason() {
        Some(Reason::NotOptedIn) => slots::of_caller(index)?,
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
    // SAFETY: the note has `ARGUMENT_KEPT` octets, and `argument` is at most that; the kernel
    // checks that the frame has them.
    let loaded = unsafe {
        let kept = note.recipient.as_mut_ptr().cast::<c_void>();
        bpf_xdp_load_bytes(context.ctx, (HEADERS + RCPT_TO) as u32, kept, argument as u32)
    };
    note.recipient_length = argument as u8;
    if loaded != 0 {
        return None;
    }
    // SAFETY: the note has as many octets behind its first recipient's octet as offset, longest
    // domain and eight more together, asserted below.
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

/// Where the only `@` of the line stands, which ends in the only `>` and has nothing quoted; 0 if
/// the line is another one. A function that the verifier follows once.
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
    // domain and eight more together, asserted below.
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
    let word = word ^ (ONES * octet as u64);
    !(((word & !(ONES << 7)) + !(ONES << 7)) | word | !(ONES << 7))
}

/// 0x80 in each octet between both, if all octets are below 0x80.
#[inline(always)]
const fn between(word: u64, first: u8, last: u8) -> u64 {
    let word = word & !(ONES << 7);
    (word + ONES * (0x80 - first as u64)) & !(word + ONES * (0x7f - last as u64)) & ONES << 7
}
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
