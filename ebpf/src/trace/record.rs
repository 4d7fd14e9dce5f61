//! The record of the segment at hand, and the limit on how many are logged.
//!
//! Each step is a function that the verifier follows once, so that tracing adds little to what it
//! follows otherwise.

use aya_ebpf::{Global, bindings::xdp_md, btf_maps::PerCpuArray, macros::btf_map, programs::XdpContext};
use aya_log_ebpf::info;
use sixgate_common::{
    refuse::Reason,
    stat::Stat,
    trace::{LINES_PER_SECOND, TraceFilter, TraceRecord},
};

use crate::{
    dialogue,
    frame::Linear,
    maps::{FLOWS, clock},
    parse::{self, Headers, Segment},
};

/// Which segments are logged: written before loading.
#[unsafe(no_mangle)]
static TRACE_FILTER: Global<TraceFilter> = Global::new(TraceFilter::NOTHING);

#[btf_map]
static TRACE: PerCpuArray<Memory, 1> = PerCpuArray::new();
#[btf_map]
static TRACE_MATCHED: PerCpuArray<u64, 1> = PerCpuArray::new();

/// A CPU's memory.
#[repr(C)]
struct Memory {
    /// Not 0 if the segment at hand is to be logged.
    matches: u64,
    /// The second that [`Self::lines`] are counted in.
    second: u64,
    /// Records logged in that second.
    lines: u64,
    record: TraceRecord,
    segment: Segment,
}

fn memory<'a>() -> Option<&'a mut Memory> {
    // SAFETY: the pointer is to this CPU's own value, and each function below borrows it by itself.
    TRACE.get_ptr_mut(0).map(|memory| unsafe { &mut *memory })
}

#[inline(always)]
pub(super) fn begin(context: &XdpContext, headers: Headers) {
    let Headers { ipv6_at, tcp_at, end } = headers;
    sixgate_trace_begin(context.ctx, ipv6_at as u32, tcp_at as u32, end as u32);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_trace_begin(context: *mut xdp_md, ipv6_at: u32, tcp_at: u32, end: u32) -> u32 {
    let Some(memory) = memory() else {
        return 0;
    };
    memory.matches = 0;
    let headers = Headers { ipv6_at: ipv6_at as usize, tcp_at: tcp_at as usize, end: end as usize };
    let segment = &mut memory.segment;
    segment.tuple.source_port = 0;
    segment.tuple.destination_port = 0;
    segment.sequence = 0;
    segment.acknowledgment = 0;
    segment.flags.0 = 0;
    segment.payload = 0;
    match parse::segment(&Linear::of(&XdpContext::new(context)), headers, segment) {
        // of what is from no sender the addresses are known
        Ok(()) | Err(Stat::PassSource) => {}
        Err(_) => return 0,
    }
    if !TRACE_FILTER.load().matches(segment.tuple.source, segment.tuple.destination) {
        return 0;
    }
    memory.matches = 1;
    memory.record.reason = 0;
    // SAFETY: it is the context that the kernel handed to this program.
    memory.record.interface = unsafe { (*context).ingress_ifindex };
    0
}

#[inline(always)]
pub(super) fn refused(reason: Reason) {
    if let Some(memory) = memory() {
        memory.record.reason = reason as u8;
    }
}

#[inline(always)]
pub(super) fn end(stat: u32, action: u32) {
    sixgate_trace_end(stat, action);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn sixgate_trace_end(stat: u32, action: u32) -> u32 {
    let (Some(memory), Some(matched)) = (memory(), TRACE_MATCHED.get_ptr_mut(0)) else {
        return 0;
    };
    if memory.matches == 0 {
        return 0;
    }
    // SAFETY: the pointer is to this CPU's own value.
    unsafe { *matched += 1 };
    let now = clock();
    if !may_log(memory, now / NANOSECONDS) {
        return 0;
    }
    complete(memory, stat, action);
    memory.record.now = now;
    let record = &memory.record;
    info!(&(), target: "", "{:x}", record.octets().as_slice());
    0
}

/// Whether the limit allows another record in this second.
#[inline(always)]
fn may_log(memory: &mut Memory, second: u64) -> bool {
    if memory.second != second {
        memory.second = second;
        memory.lines = 0;
    }
    if memory.lines >= LINES_PER_SECOND {
        return false;
    }
    memory.lines += 1;
    true
}

/// Fills the record from the segment, from its session and from the answer.
#[inline(always)]
fn complete(memory: &mut Memory, stat: u32, action: u32) {
    let Memory { record, segment, .. } = memory;
    let key = segment.tuple.key();
    // SAFETY: an entry that gives way while it is read may be seen half old, half new: the line
    // names another reason.
    if record.reason == 0
        && let Some(tag) = unsafe { FLOWS.get(key) }
    {
        record.reason = tag.reason as u8;
    }
    if record.reason == 0 {
        record.reason = dialogue::reason(&segment.tuple);
    }
    record.source = key.source;
    record.destination = key.destination;
    record.source_port = key.source_port;
    record.destination_port = key.destination_port;
    record.sequence = segment.sequence;
    record.acknowledgment = segment.acknowledgment;
    record.payload = segment.payload as u32;
    record.flags = segment.flags.0;
    record.stat = stat as u8;
    record.action = action as u8;
    record.reply = TraceRecord::NO_REPLY;
    record.answer_flags = 0;
    if action as u8 == TraceRecord::TX
        && let Some(outgoing) = dialogue::outgoing()
    {
        record.reply = outgoing.reply;
        record.answer_flags = outgoing.flags as u8;
    }
}

const NANOSECONDS: u64 = 1_000_000_000;
