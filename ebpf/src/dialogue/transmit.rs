//! Rewrites the frame that was received into the one that answers it: same link-layer path
//! backwards, all headers anew.
//!
//! The position of the answer in the frame is `position`'s business; it does not decide what is
//! sent.

use core::ptr;

use aya_ebpf::{
    bindings::xdp_md, cty::c_void, helpers::generated::bpf_xdp_store_bytes, programs::XdpContext,
};
use sixgate_common::{
    bytes::Bytes,
    flow::{MSS, WINDOW},
    reply::{REPLY_MAX, Reply},
};

use super::{
    checksum::{CHECKSUM_AT, Sum, two},
    outgoing::{NO_REPLY, Outgoing},
    position::{Position, fit, trailer, write_trailer},
    scratch::{SUBJECT_MAX, Scratch},
};
use crate::{
    frame::Linear,
    maps::{REPLIES, answers},
    parse::{IPV6_LENGTH, LINK_LENGTH_MAX, Segment, TCP_LENGTH, Tuple},
    verifier::{barrier, nonzero_length},
};

/// Why a frame could not be rewritten.
enum Failure {
    /// It can grow neither at its head nor at its end; its headers are as they were.
    NoRoom,
    /// It is lost.
    Lost,
}

/// The outcome for the frame at hand.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Rewritten {
    /// It is ready for XDP_TX.
    Done,
    /// It cannot hold the segment that was to be sent, and can be used for a shorter one.
    NoRoom,
    /// It is lost.
    Lost,
}

/// Rewrites the frame at hand into the scratch's outgoing segment.
#[inline(always)]
pub(crate) fn transmit(context: &XdpContext) -> Rewritten {
    match sixgate_transmit(context.ctx) {
        DONE => Rewritten::Done,
        NO_ROOM => Rewritten::NoRoom,
        _ => Rewritten::Lost,
    }
}

/// A function that the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_transmit(context: *mut xdp_md) -> u32 {
    let Some(scratch) = Scratch::of_this_cpu().filter(|_| answers()) else {
        return LOST;
    };
    match rewrite(&XdpContext::new(context), scratch) {
        Ok(()) => DONE,
        Err(Failure::NoRoom) => NO_ROOM,
        Err(Failure::Lost) => LOST,
    }
}

#[inline(always)]
fn rewrite(context: &XdpContext, scratch: Scratch) -> Result<(), Failure> {
    let (segment, outgoing) = (scratch.segment(), scratch.outgoing());
    let reply = match outgoing.reply {
        NO_REPLY => None,
        index => Some(REPLIES.get(index).ok_or(Failure::Lost)?),
    };
    let (text, subject) = match reply {
        Some(reply) => (reply.length as usize + outgoing.subject.length, outgoing.subject.length),
        None => (0, 0),
    };
    let offers_mss = outgoing.offers_mss != 0;
    let header = if offers_mss { TCP_LENGTH + MSS_OPTION.len() } else { TCP_LENGTH };
    let frame = Linear::of(context);
    let link = Link::of(&frame, segment).ok_or(Failure::Lost)?;
    let text_at = link.length + IPV6_LENGTH + header;
    let position =
        fit(context, &frame, scratch, segment, link.length, text_at + text).ok_or(Failure::NoRoom)?;

    let (data, end) = (context.data(), context.data_end());
    let length = link.bounded_length();
    let tcp = data + length + IPV6_LENGTH;
    let header_end = if offers_mss { tcp + TCP_LENGTH + MSS_OPTION.len() } else { tcp + TCP_LENGTH };
    if barrier(header_end) > end || barrier(data + LINK_LENGTH_MAX) > end {
        return Err(Failure::Lost);
    }
    link.write(data);
    write_ipv6(data + length, &segment.tuple, (header + text) as u16);
    let mut sum = Sum::of_pseudo_header(&segment.tuple, (header + text) as u32);
    let pseudo_header = sum.fold();
    for (index, word) in tcp_header(&segment.tuple, outgoing, header).into_iter().enumerate() {
        sum.add(word);
        // SAFETY: the header of 20 octets at `tcp` lies before `end`, checked above.
        unsafe { ptr::write_unaligned((tcp + index * 4) as *mut u32, word) };
    }
    if offers_mss {
        let option = u32::from_ne_bytes(MSS_OPTION);
        sum.add(option);
        // SAFETY: with the option's 4 octets the header lies before `end`, checked above.
        unsafe { ptr::write_unaligned((tcp + TCP_LENGTH) as *mut u32, option) };
    }
    if let Some(reply) = reply {
        store(context.ctx, text_at, reply, scratch, subject)?;
        match subject {
            0 => sum.add(reply.sum),
            _ => sum.add_octets(context, text_at, text).ok_or(Failure::Lost)?,
        }
    }
    let field = context.data() + link.bounded_length() + IPV6_LENGTH + CHECKSUM_AT;
    if barrier(field + CHECKSUM_LENGTH + URGENT_LENGTH) > context.data_end() {
        return Err(Failure::Lost);
    }
    let (checksum, urgent) = match position {
        Position::Anywhere | Position::Aside(_) => (!sum.fold(), 0),
        // The sum of the pseudo-header is the value that the device expects; the urgent pointer,
        // which counts in segments with URG only (RFC 9293 3.1), makes it the right checksum as
        // well, and the device computes the same once more.
        Position::OnTheMark => {
            sum.add(pseudo_header.into());
            (pseudo_header, !sum.fold())
        }
    };
    // SAFETY: both fields lie before the end, checked above.
    unsafe {
        ptr::write_unaligned(field as *mut u16, checksum);
        ptr::write_unaligned((field + CHECKSUM_LENGTH) as *mut u16, urgent);
    }
    let trailer = match position {
        Position::Anywhere => return Ok(()),
        Position::OnTheMark => 0,
        Position::Aside(octets) => trailer(context, text_at + text, octets).ok_or(Failure::Lost)?,
    };
    write_trailer(context, text_at + text, trailer).ok_or(Failure::Lost)
}

/// The link-layer header: addresses, VLAN tags, EtherType; in pieces that fit a register.
struct Link {
    length: usize,
    destination: (u32, u16),
    source: (u32, u16),
    /// Tags and EtherType, and the octets that follow where there are fewer tags.
    rest: (u64, u16),
}

impl Link {
    #[inline(always)]
    fn of(frame: &Linear, segment: &Segment) -> Option<Self> {
        if segment.ipv6_at > LINK_LENGTH_MAX {
            return None;
        }
        Some(Self {
            length: segment.ipv6_at,
            destination: (frame.u32_ne(0)?, frame.u16_ne(4)?),
            source: (frame.u32_ne(6)?, frame.u16_ne(10)?),
            rest: (frame.u64_ne(12)?, frame.u16_ne(20)?),
        })
    }

    /// The header's length in a form that can be added to a pointer into the packet: the verifier
    /// of Linux 6.1 forgets the range that a comparison gave a number after it was put on the
    /// stack, and keeps the range that a mask gave it.
    #[inline(always)]
    fn bounded_length(&self) -> usize {
        barrier(self.length) & LENGTH_MASK
    }

    /// Writes the header with the addresses exchanged; what lies behind it is written afterwards.
    #[inline(always)]
    fn write(&self, data: usize) {
        // SAFETY: the caller checked that these 22 octets lie in the frame.
        unsafe {
            ptr::write_unaligned(data as *mut u32, self.source.0);
            ptr::write_unaligned((data + 4) as *mut u16, self.source.1);
            ptr::write_unaligned((data + 6) as *mut u32, self.destination.0);
            ptr::write_unaligned((data + 10) as *mut u16, self.destination.1);
            ptr::write_unaligned((data + 12) as *mut u64, self.rest.0);
            ptr::write_unaligned((data + 20) as *mut u16, self.rest.1);
        }
    }
}

/// The IPv6 header from us to the sender (RFC 8200 3): no traffic class, no flow label.
#[inline(always)]
fn write_ipv6(at: usize, tuple: &Tuple, payload: u16) {
    let [high, low] = payload.to_be_bytes();
    let words = [
        u64::from_be_bytes([0x60, 0, 0, 0, high, low, TCP, HOP_LIMIT]).to_be(),
        tuple.destination[0],
        tuple.destination[1],
        tuple.source[0],
        tuple.source[1],
    ];
    for (index, word) in words.into_iter().enumerate() {
        // SAFETY: the caller checked that the 40 octets at `at` and a TCP header behind them lie in
        // the frame.
        unsafe { ptr::write_unaligned((at + index * 8) as *mut u64, word) };
    }
}

/// The TCP header without options (RFC 9293 3.1), its checksum 0, as integers in the order of this
/// machine.
#[inline(always)]
fn tcp_header(tuple: &Tuple, outgoing: &Outgoing, length: usize) -> [u32; 5] {
    let [high, low] = WINDOW.to_be_bytes();
    [
        two(tuple.destination_port, tuple.source_port),
        outgoing.sequence.to_be(),
        outgoing.acknowledgment.to_be(),
        u32::from_be_bytes([(length as u8 / 4) << 4, outgoing.flags as u8, high, low]).to_be(),
        0,
    ]
}

/// Stores the reply with its subject behind the headers: the whole text first, as far back as its
/// end belongs, then the part before the subject, then the subject. So no piece's offset depends on
/// another one's length, which the verifier could not bound.
#[inline(always)]
fn store(
    context: *mut xdp_md,
    at: usize,
    reply: &'static Reply,
    scratch: Scratch,
    subject: usize,
) -> Result<(), Failure> {
    let text = reply.text.as_ptr();
    store_piece::<REPLY_MAX>(context, at + subject, text, reply.length as usize)?;
    if subject == 0 {
        return Ok(());
    }
    let insert_at = reply.insert_at as usize;
    store_piece::<REPLY_MAX>(context, at, text, insert_at)?;
    let octets = scratch.subject(scratch.outgoing().subject.start).ok_or(Failure::Lost)?;
    store_piece::<SUBJECT_MAX>(context, at + insert_at, octets, subject)
}

/// Stores `length` octets of `octets`, which has `BOUND`.
#[inline(always)]
fn store_piece<const BOUND: usize>(
    context: *mut xdp_md,
    at: usize,
    octets: *const u8,
    length: usize,
) -> Result<(), Failure> {
    let length = nonzero_length::<BOUND>(length).ok_or(Failure::Lost)?;
    // SAFETY: `octets` has `BOUND` octets, and `length` is at most that; the kernel checks that
    // they lie in the frame.
    match unsafe { bpf_xdp_store_bytes(context, at as u32, octets as *mut c_void, length as u32) } {
        0 => Ok(()),
        _ => Err(Failure::Lost),
    }
}

// The numbers that `sixgate_transmit` returns.
const LOST: u32 = 0;
const DONE: u32 = 1;
const NO_ROOM: u32 = 2;
/// Covers the length of each link-layer header.
const LENGTH_MASK: usize = 31;
const _: () = assert!(LINK_LENGTH_MAX <= LENGTH_MASK);
const CHECKSUM_LENGTH: usize = 2;
const URGENT_LENGTH: usize = 2;
const TCP: u8 = 6;
const HOP_LIMIT: u8 = 64;
/// The maximum segment size option (RFC 9293 3.2).
const MSS_OPTION: [u8; 4] = [2, 4, (MSS >> 8) as u8, MSS as u8];
