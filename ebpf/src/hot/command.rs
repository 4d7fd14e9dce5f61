//! One whole line in one segment, and its reply.
//!
//! The lines that it reads are short and have no control character; the other modules read all.

use aya_ebpf::{cty::c_void, helpers::generated::bpf_xdp_load_bytes, programs::XdpContext};
use sixgate_common::{
    event::Ending,
    flow::ARGUMENT_KEPT,
    refuse::{COMMANDS_MAX, Phase, ReplyId},
    reply,
    slot::{
        FLAG_ACKNOWLEDGED, FLAG_FIN_RECEIVED, FLAG_FIN_SENT, FLAG_HELD_BACK, FLAG_KEPT, FLAG_RESUMED,
        FLAG_SKIPPING, Note, Slot,
    },
    stat::Stat,
};

use super::{
    frame::{Frame, HEADERS, Link, Segment, TCP_LENGTH, get, grow, halves, send},
    may_be_answered,
    recipient::recipient,
    reply_index,
};
use crate::{
    dialogue::{event, slots},
    maps::{REPLIES, now, settings},
    parse::TcpFlags,
    verifier::{barrier, nonzero_length},
};

/// One whole line and nothing else, with a command that needs no more than its first octets.
#[inline(always)]
pub(super) fn command(
    context: &XdpContext,
    frame: &Frame,
    slot: &mut Slot,
    index: u32,
    payload: usize,
) -> Option<u32> {
    if slot.flags & UNUSUAL != 0 || u16::from(slot.commands) >= COMMANDS_MAX {
        return None;
    }
    let settings = settings()?;
    let (line_sum, verb) = line(frame, payload)?;
    if !frame.holds(line_sum) || !may_be_answered(context, frame) {
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
    // The last few octets, and the line's end: eleven octets that end with the payload, of which
    // the first ones are known.
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
    // QUIT alone has nothing behind it; the others have a blank and an argument
    let [blank, letter] = next.to_ne_bytes();
    if verb != QUIT && (blank != b' ' || letter <= b' ' || payload < 8) {
        return None;
    }
    Some((sum, verb))
}
/// Not 0 if an octet below a blank is among the eight.
#[inline(always)]
const fn has_control(word: u64) -> u64 {
    word.wrapping_sub(BLANKS) & !word & (ONES << 7)
}
/// What makes a session unusual: its lines came in pieces, or are too long, or it ends.
/// That includes a session that has lost its state: a part of its line may have been kept before.
const UNUSUAL: u8 =
    FLAG_SKIPPING | FLAG_HELD_BACK | FLAG_KEPT | FLAG_FIN_SENT | FLAG_FIN_RECEIVED | FLAG_RESUMED;
/// Longest line that is read here.
pub(super) const LINE_MAX: usize = 96;
/// Covers each offset in such a frame.
pub(super) const OFFSET_MASK: usize = 0xff;
pub(super) const CRLF_LENGTH: usize = 2;
const CRLF: u16 = u16::from_ne_bytes(*b"\r\n");
/// 1 in each of eight octets.
pub(super) const ONES: u64 = 0x0101_0101_0101_0101;
pub(super) const BLANKS: u64 = ONES * b' ' as u64;
pub(super) const UPPER_CASE: u32 = 0xdfdf_dfdf;
const EHLO: u32 = u32::from_ne_bytes(*b"EHLO");
const HELO: u32 = u32::from_ne_bytes(*b"HELO");
const MAIL: u32 = u32::from_ne_bytes(*b"MAIL");
const FROM: u32 = u32::from_ne_bytes(*b"FROM");
/// Octets of `MAIL FROM:`.
const MAIL_FROM: usize = 10;
const RCPT: u32 = u32::from_ne_bytes(*b"RCPT");
const QUIT: u32 = u32::from_ne_bytes(*b"QUIT");
