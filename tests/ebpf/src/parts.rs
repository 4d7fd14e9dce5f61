//! The building blocks of an answer, each alone in a program: what the kernel's helpers cost on
//! this machine.
//!
//! Nothing here answers anybody. A program does one thing on values of its own and passes the frame
//! on.

use aya_ebpf::{
    bindings::xdp_action::XDP_PASS,
    btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, lpm_trie::Key},
    helpers::{
        bpf_get_prandom_u32, bpf_ktime_get_ns, bpf_xdp_get_buff_len,
        generated::{
            bpf_csum_diff, bpf_ktime_get_coarse_ns, bpf_tcp_raw_check_syncookie_ipv6,
            bpf_tcp_raw_gen_syncookie_ipv6, bpf_xdp_adjust_head, bpf_xdp_store_bytes,
        },
    },
    macros::{btf_map, xdp},
    programs::XdpContext,
};
use sixgate_common::{flow::FlowKey, names};

#[btf_map]
static PARTS_COUNTER: PerCpuArray<u64, 1> = PerCpuArray::new();
#[btf_map]
static PARTS_TRIE: LpmTrie<[u8; 16], u32, 16> = LpmTrie::new();
#[btf_map]
static PARTS_FLOWS: LruHashMap<FlowKey, [u8; VALUE], 1024> = LruHashMap::new();
#[btf_map]
static PARTS_PLAIN: HashMap<FlowKey, [u8; VALUE], 1024> = HashMap::new();
/// As many as FLOWS keeps, unless the loader wants fewer.
#[btf_map]
static PARTS_MANY: LruHashMap<FlowKey, [u8; VALUE], { names::FLOWS_ENTRIES as usize }> = LruHashMap::new();
#[btf_map]
static PARTS_TEXT: Array<[u8; TEXT], 1> = Array::new();

/// The frame's length.
#[xdp(frags)]
fn part_length(context: XdpContext) -> u32 {
    // SAFETY: `ctx` is the context that the kernel handed to this program.
    unsafe { bpf_xdp_get_buff_len(context.ctx) };
    XDP_PASS
}

/// The time in nanoseconds (bpf_ktime_get_ns).
#[xdp(frags)]
fn part_clock(_: XdpContext) -> u32 {
    // SAFETY: the helper takes no argument and has no precondition.
    unsafe { bpf_ktime_get_ns() };
    XDP_PASS
}

/// The time of the last tick.
#[xdp(frags)]
fn part_tick(_: XdpContext) -> u32 {
    // SAFETY: the helper takes no argument and has no precondition.
    unsafe { bpf_ktime_get_coarse_ns() };
    XDP_PASS
}

/// One counter raised.
#[xdp(frags)]
fn part_count(_: XdpContext) -> u32 {
    if let Some(counter) = PARTS_COUNTER.get_ptr_mut(0) {
        // SAFETY: the pointer is to this CPU's own value, and an XDP program is not preempted by
        // another.
        unsafe { *counter += 1 };
    }
    XDP_PASS
}

/// A look into an empty prefix trie.
#[xdp(frags)]
fn part_trie(_: XdpContext) -> u32 {
    let _ = PARTS_TRIE.get(&Key::new(128, ADDRESS));
    XDP_PASS
}

/// A connection found.
#[xdp(frags)]
fn part_find(_: XdpContext) -> u32 {
    let _ = PARTS_FLOWS.get_ptr_mut(KEY);
    XDP_PASS
}

/// A connection stored, and removed.
#[xdp(frags)]
fn part_store(_: XdpContext) -> u32 {
    let _ = PARTS_FLOWS.insert(KEY, [1; VALUE], 0);
    let _ = PARTS_FLOWS.remove(KEY);
    XDP_PASS
}

/// The same in a hash without an order of use.
#[xdp(frags)]
fn part_plain(_: XdpContext) -> u32 {
    let _ = PARTS_PLAIN.insert(KEY, [1; VALUE], 0);
    let _ = PARTS_PLAIN.remove(KEY);
    XDP_PASS
}

/// Another connection stored each time; from some time on an old one gives way.
#[xdp(frags)]
fn part_stores(_: XdpContext) -> u32 {
    // SAFETY: the helper takes no argument and has no precondition.
    let [a, b, c, d] = unsafe { bpf_get_prandom_u32() }.to_ne_bytes();
    let mut key = KEY;
    key.source[12..].copy_from_slice(&[a, b, c, d]);
    let _ = PARTS_MANY.insert(key, [1; VALUE], 0);
    XDP_PASS
}

/// A SYN cookie made.
#[xdp(frags)]
fn part_cookie(_: XdpContext) -> u32 {
    let (mut ip, mut tcp) = headers(SEQUENCE, 0, SYN);
    make(&mut ip, &mut tcp);
    XDP_PASS
}

/// A SYN cookie made, and found good in an ACK.
#[xdp(frags)]
fn part_cookies(_: XdpContext) -> u32 {
    let (mut ip, mut tcp) = headers(SEQUENCE, 0, SYN);
    let cookie = make(&mut ip, &mut tcp) as u32;
    (ip, tcp) = headers(SEQUENCE + 1, cookie.wrapping_add(1), ACK);
    // SAFETY: both headers are on the stack, as long as the helper reads, and the TCP header's
    // length is 20 octets.
    let bad = unsafe { bpf_tcp_raw_check_syncookie_ipv6(ip.as_mut_ptr().cast(), tcp.as_mut_ptr().cast()) };
    if bad == 0 { XDP_PASS } else { XDP_PASS + 1 }
}

/// The checksum over as much as an answer has.
#[xdp(frags)]
fn part_checksum(_: XdpContext) -> u32 {
    if let Some(text) = PARTS_TEXT.get_ptr_mut(0) {
        // SAFETY: nothing is compared with, and the text is a map's value of this length.
        unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, text.cast(), TEXT as u32, 0) };
    }
    XDP_PASS
}

/// The frame made longer at its head, and shorter again.
#[xdp(frags)]
fn part_head(context: XdpContext) -> u32 {
    // SAFETY: `ctx` is the context that the kernel handed to this program; no pointer into the
    // frame is kept.
    unsafe {
        bpf_xdp_adjust_head(context.ctx, -64);
        bpf_xdp_adjust_head(context.ctx, 64);
    }
    XDP_PASS
}

/// The start of the frame written.
#[xdp(frags)]
fn part_write(context: XdpContext) -> u32 {
    if let Some(text) = PARTS_TEXT.get_ptr_mut(0) {
        // SAFETY: `ctx` is the context that the kernel handed to this program; the text is a map's
        // value.
        unsafe { bpf_xdp_store_bytes(context.ctx, 0, text.cast(), 60) };
    }
    XDP_PASS
}

#[inline(always)]
fn make(ip: &mut Ip, tcp: &mut Tcp) -> i64 {
    // SAFETY: both headers are on the stack, as long as the helper reads.
    unsafe { bpf_tcp_raw_gen_syncookie_ipv6(ip.as_mut_ptr().cast(), tcp.as_mut_ptr().cast(), 20) }
}

/// An IPv6 header, in pieces of 8 octets, as the verifier wants the stack to be written.
type Ip = [u64; 5];
/// A TCP header without options and 4 octets more, in pieces of 8.
type Tcp = [u64; 3];

/// The headers of a segment to port 25.
#[inline(always)]
fn headers(sequence: u32, acknowledged: u32, flags: u32) -> (Ip, Tcp) {
    let prefix = 0x3fff_0000;
    let ip =
        [word(6 << 28, 20 << 16 | 6 << 8 | 64), word(prefix, 0), word(0, 1), word(prefix, 0), word(0, 2)];
    let tcp = [word(40_000 << 16 | 25, sequence), word(acknowledged, 5 << 28 | flags << 16), 0];
    (ip, tcp)
}

/// Eight octets in network order.
#[inline(always)]
const fn word(first: u32, second: u32) -> u64 {
    ((first as u64) << 32 | second as u64).to_be()
}

const ADDRESS: [u8; 16] = [0x20; 16];
const KEY: FlowKey =
    FlowKey { source: ADDRESS, destination: ADDRESS, source_port: [0, 7], destination_port: [0, 25] };
/// About what FLOWS keeps.
const VALUE: usize = 104;
/// About as long as an answer: headers and text.
const TEXT: usize = 160;
const SEQUENCE: u32 = 256;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;
