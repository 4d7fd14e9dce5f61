//! SYN cookies with the host's own secret (net/ipv6/syncookies.c), and the question whether the
//! host's TCP knows a connection.
//!
//! It keeps no state: a cookie is checked by computing it again.

use aya_ebpf::{
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock_tuple, ipv6hdr, tcphdr},
    helpers::generated::{
        bpf_sk_release, bpf_skc_lookup_tcp, bpf_tcp_raw_check_syncookie_ipv6, bpf_tcp_raw_gen_syncookie_ipv6,
    },
    programs::XdpContext,
};
use sixgate_common::{bytes::Bytes as _, flow::FlowKey};

use super::checksum::two;
use crate::{
    frame::Linear,
    parse::{IPV6_LENGTH, Segment, TCP_LENGTH, TcpFlags, Tuple},
};

/// The initial sequence number for the answer to a SYN.
#[inline(always)]
pub(crate) fn make(frame: &Linear, segment: &Segment) -> Option<u32> {
    make_for(frame, segment, segment.sequence)
}

#[inline(always)]
fn make_for(frame: &Linear, segment: &Segment, sequence: u32) -> Option<u32> {
    let ipv6 = ipv6(frame, segment)?;
    let mut tcp = header(segment, sequence, 0, TcpFlags::SYN);
    // SAFETY: both headers are whole; the TCP header's length is the one in its data offset.
    let cookie =
        unsafe { bpf_tcp_raw_gen_syncookie_ipv6(ipv6, tcp.as_mut_ptr().cast::<tcphdr>(), TCP_LENGTH as u32) };
    // an error, or the cookie with the sender's MSS above it
    (cookie >= 0).then_some(cookie as u32)
}

/// Whether the segment acknowledges such a number, within the one or two minutes that it holds
/// (MAX_SYNCOOKIE_AGE, include/net/tcp.h).
///
/// The kernel's check forgives up to three, for the index of an MSS that a cookie can hold; ours
/// always holds the first one. So the number is made again, and what it was a minute ago is checked
/// exactly: a number too large by one, two or three is right for the check after one subtraction
/// still.
#[inline(always)]
pub(crate) fn is_ours(frame: &Linear, segment: &Segment) -> bool {
    let cookie = segment.acknowledgment.wrapping_sub(1);
    if make_for(frame, segment, segment.sequence.wrapping_sub(1)) == Some(cookie) {
        return true;
    }
    holds(frame, segment, segment.acknowledgment) && !holds(frame, segment, cookie)
}

#[inline(always)]
fn holds(frame: &Linear, segment: &Segment, acknowledgment: u32) -> bool {
    let Some(ipv6) = ipv6(frame, segment) else {
        return false;
    };
    let mut tcp = header(segment, segment.sequence, acknowledgment, TcpFlags::ACK);
    // SAFETY: both headers are whole.
    unsafe { bpf_tcp_raw_check_syncookie_ipv6(ipv6, tcp.as_mut_ptr().cast::<tcphdr>()) == 0 }
}

/// Whether the host's TCP has a connection of this 4-tuple that lives.
#[inline(always)]
pub(crate) fn is_hosts(context: &XdpContext, tuple: &Tuple) -> bool {
    let netns = BPF_F_CURRENT_NETNS as i64 as u64;
    // SAFETY: the tuple is whole, and its size selects the IPv6 part.
    let socket = unsafe {
        bpf_skc_lookup_tcp(
            context.ctx.cast(),
            // the key has the layout of the tuple's IPv6 part
            (&raw const *tuple).cast_mut().cast::<bpf_sock_tuple>(),
            size_of::<FlowKey>() as u32,
            netns,
            0,
        )
    };
    if socket.is_null() {
        return false;
    }
    // SAFETY: a socket that was found stays valid until it is released, here.
    let state = unsafe {
        let state = (*socket).state;
        bpf_sk_release(socket.cast());
        state
    };
    !matches!(state, TCP_LISTEN | TCP_TIME_WAIT)
}

/// The IPv6 header in the packet.
#[inline(always)]
fn ipv6(frame: &Linear, segment: &Segment) -> Option<*mut ipv6hdr> {
    let header = frame.view::<IPV6_LENGTH>(segment.ipv6_at)?;
    // the helpers read it only
    Some((&raw const *header).cast_mut().cast())
}

/// The TCP header as the helpers read it: they take the ports and numbers from it, and no options.
/// In integers of eight octets, because the stack takes aligned ones only.
#[inline(always)]
const fn header(segment: &Segment, sequence: u32, acknowledgment: u32, flags: u8) -> [u64; 3] {
    let offset_and_flags = u32::from_be_bytes([(TCP_LENGTH as u8 / 4) << 4, flags, 0, 0]).to_be();
    [
        four(two(segment.tuple.source_port, segment.tuple.destination_port), sequence.to_be()),
        four(acknowledgment.to_be(), offset_and_flags),
        0,
    ]
}

/// Two integers as they lie in memory one behind the other.
#[inline(always)]
const fn four(first: u32, second: u32) -> u64 {
    ((u32::from_be(first) as u64) << 32 | u32::from_be(second) as u64).to_be()
}

// include/net/tcp_states.h
const TCP_TIME_WAIT: u32 = 6;
const TCP_LISTEN: u32 = 10;
