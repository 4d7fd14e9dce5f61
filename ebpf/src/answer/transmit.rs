//! Turns the frame that was received into the one that answers it: same link-layer path backwards, all headers anew.
//!
//! Frames grow and shrink at the head, where every driver leaves room. It decides nothing about what is sent.

use core::ptr;

use aya_ebpf::{
    bindings::xdp_md,
    cty::c_void,
    helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_store_bytes},
    programs::XdpContext,
};
use sixgate_common::{
    bytes::Bytes,
    flow::{MSS, WINDOW},
    line::Span,
    reply::{REPLY_MAX, Reply},
};

use super::{
    checksum::{Sum, two},
    scratch::{SUBJECT_MAX, Scratch},
    smtp::NO_DOMAIN,
};
use crate::{
    REPLIES, answers,
    frame::{Linear, as_it_is, nonzero_length},
    parse::{Segment, Tuple},
};

/// A segment to be sent.
pub(crate) struct Outgoing {
    pub(crate) sequence: u32,
    pub(crate) acknowledgment: u32,
    pub(crate) flags: u32,
    /// 1 with the MSS option and nothing else: it is a SYN-ACK.
    pub(crate) offers_mss: u32,
    /// What it carries, an index of REPLIES, or [`NO_REPLY`].
    pub(crate) reply: u32,
    /// The part of the scratch's text that is inserted into the reply.
    pub(crate) subject: Span,
}

impl Outgoing {
    /// Without options and data.
    #[inline(always)]
    pub(crate) const fn bare(sequence: u32, acknowledgment: u32, flags: u8) -> Self {
        Self {
            sequence,
            acknowledgment,
            flags: flags as u32,
            offers_mss: 0,
            reply: NO_REPLY,
            subject: NO_DOMAIN,
        }
    }
}

/// The frame had no room, and is as it was or lost.
struct NoRoom;

/// Rewrites the frame at hand into the scratch's outgoing segment, ready for XDP_TX; whether it had room.
#[inline(always)]
pub(crate) fn transmit(context: &XdpContext) -> bool {
    sixgate_transmit(context.ctx) != 0
}

/// In a function that the verifier follows once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_transmit(context: *mut xdp_md) -> u32 {
    let Some(scratch) = Scratch::of_this_cpu().filter(|_| answers()) else {
        return 0;
    };
    rewrite(&XdpContext::new(context), scratch).is_ok().into()
}

#[inline(always)]
fn rewrite(context: &XdpContext, scratch: Scratch) -> Result<(), NoRoom> {
    let (segment, outgoing) = (scratch.segment(), scratch.outgoing());
    let reply = match outgoing.reply {
        NO_REPLY => None,
        index => Some(REPLIES.get(index).ok_or(NoRoom)?),
    };
    let (text, subject) = match reply {
        Some(reply) => (reply.length as usize + outgoing.subject.length, outgoing.subject.length),
        None => (0, 0),
    };
    let offers_mss = outgoing.offers_mss != 0;
    let header = if offers_mss { TCP_LENGTH + MSS_OPTION.len() } else { TCP_LENGTH };
    let frame = Linear::of(context);
    let link = Link::of(&frame, segment).ok_or(NoRoom)?;
    let text_at = link.length + IPV6_LENGTH + header;
    resize(context, &frame, segment, text_at + text)?;

    let (data, end) = (context.data(), context.data_end());
    let length = link.bounded_length()?;
    let tcp = data + length + IPV6_LENGTH;
    let header_end = if offers_mss { tcp + TCP_LENGTH + MSS_OPTION.len() } else { tcp + TCP_LENGTH };
    if as_it_is(header_end) > end || as_it_is(data + LENGTH_MAX) > end {
        return Err(NoRoom);
    }
    link.write(data);
    write_ipv6(data + length, &segment.tuple, (header + text) as u16);
    let mut sum = Sum::of_pseudo_header(&segment.tuple, (header + text) as u32);
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
            _ => sum.add_octets(&Linear::of(context).behind(scratch.veil()), text_at, text).ok_or(NoRoom)?,
        }
    }
    let field = context.data() + link.bounded_length()? + IPV6_LENGTH + CHECKSUM_AT;
    if as_it_is(field + 2) > context.data_end() {
        return Err(NoRoom);
    }
    // SAFETY: the field's 2 octets lie before the end, checked above.
    unsafe { ptr::write_unaligned(field as *mut u16, !sum.fold()) };
    Ok(())
}

/// Makes the frame `length` octets long. Of several buffers only the first is kept.
#[inline(always)]
fn resize(context: &XdpContext, frame: &Linear, segment: &Segment, length: usize) -> Result<(), NoRoom> {
    let mut present = frame.length();
    if present > frame.readable() {
        let surplus = present - segment.payload_at;
        // SAFETY: `ctx` is the context that the kernel handed to this program; no pointer into the packet is used after.
        if unsafe { bpf_xdp_adjust_tail(context.ctx, -(surplus as i32)) } != 0 {
            return Err(NoRoom);
        }
        present = segment.payload_at;
    }
    // SAFETY: as above.
    match unsafe { bpf_xdp_adjust_head(context.ctx, present as i32 - length as i32) } {
        0 => Ok(()),
        _ => Err(NoRoom),
    }
}

/// The link-layer header: addresses, VLAN tags, EtherType; in pieces that fit a register.
struct Link {
    length: usize,
    destination: (u32, u16),
    source: (u32, u16),
    /// Tags and EtherType, and whatever follows where there are fewer tags.
    rest: (u64, u16),
}

impl Link {
    #[inline(always)]
    fn of(frame: &Linear, segment: &Segment) -> Option<Self> {
        if segment.ipv6_at > LENGTH_MAX {
            return None;
        }
        Some(Self {
            length: segment.ipv6_at,
            destination: (frame.word(0)?, frame.half(4)?),
            source: (frame.word(6)?, frame.half(10)?),
            rest: (frame.double(12)?, frame.half(20)?),
        })
    }

    /// The header's length, compared once more: the verifier of Linux 6.1 forgets what was learned of a number after it
    /// was put on the stack, and demands a bound at each addition to a pointer into the packet.
    #[inline(always)]
    fn bounded_length(&self) -> Result<usize, NoRoom> {
        let length = as_it_is(self.length);
        if length <= LENGTH_MAX { Ok(length) } else { Err(NoRoom) }
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
        // SAFETY: the caller checked that the 40 octets at `at` and a TCP header behind them lie in the frame.
        unsafe { ptr::write_unaligned((at + index * 8) as *mut u64, word) };
    }
}

/// The TCP header without options (RFC 9293 3.1), its checksum 0, as words of the machine.
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

/// Stores the reply with its subject behind the headers: the whole text first, as far back as its end belongs, then
/// what comes before the subject, then the subject. So no piece's place depends on another one's length, which the
/// verifier could not bound.
#[inline(always)]
fn store(
    context: *mut xdp_md,
    at: usize,
    reply: &'static Reply,
    scratch: Scratch,
    subject: usize,
) -> Result<(), NoRoom> {
    let text = reply.text.as_ptr();
    store_piece::<REPLY_MAX>(context, at + subject, text, reply.length as usize)?;
    if subject == 0 {
        return Ok(());
    }
    let insert_at = reply.insert_at as usize;
    store_piece::<REPLY_MAX>(context, at, text, insert_at)?;
    let octets = scratch.subject(scratch.outgoing().subject.start).ok_or(NoRoom)?;
    store_piece::<SUBJECT_MAX>(context, at + insert_at, octets, subject)
}

/// Stores `length` octets of `octets`, which has `BOUND`.
#[inline(always)]
fn store_piece<const BOUND: usize>(
    context: *mut xdp_md,
    at: usize,
    octets: *const u8,
    length: usize,
) -> Result<(), NoRoom> {
    let length = nonzero_length::<BOUND>(length).ok_or(NoRoom)?;
    // SAFETY: `octets` has `BOUND` octets, and `length` is no more; the kernel checks that the frame has room.
    match unsafe { bpf_xdp_store_bytes(context, at as u32, octets as *mut c_void, length as u32) } {
        0 => Ok(()),
        _ => Err(NoRoom),
    }
}

/// The segment carries no reply.
const NO_REPLY: u32 = u32::MAX;
/// Longest link-layer header: two VLAN tags.
const LENGTH_MAX: usize = 22;
const IPV6_LENGTH: usize = 40;
const TCP_LENGTH: usize = 20;
const CHECKSUM_AT: usize = 16;
const TCP: u8 = 6;
const HOP_LIMIT: u8 = 64;
/// The maximum segment size option (RFC 9293 3.2).
const MSS_OPTION: [u8; 4] = [2, 4, (MSS >> 8) as u8, MSS as u8];
