//! PTR: whether DNS has a PTR record for a source address, kept for as long as DNS allows.
//!
//! Only answers are stored here: a DNS failure (SERVFAIL, time-out, REFUSED) has no representation
//! on purpose, because it must never be taken for "no PTR".

/// Value of the PTR map; the key is the source address, 16 octets in network order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PtrEntry {
    /// The entry is void from this instant on, nanoseconds of CLOCK_MONOTONIC (`bpf_ktime_get_ns`).
    pub expires: u64,
    /// [`PTR_EXISTS`] or [`PTR_ABSENT`]; any other value counts as unknown.
    pub state: u32,
    /// [`ORIGIN_DNS`] or [`ORIGIN_COMMAND`]; the program does not look at it.
    pub origin: u32,
}

/// The address has at least one PTR record.
pub const PTR_EXISTS: u32 = 1;
/// The address has no PTR record (NXDOMAIN or NODATA).
pub const PTR_ABSENT: u32 = 2;

/// The entry is from DNS: a later answer replaces it.
pub const ORIGIN_DNS: u32 = 0;
/// The entry is from a command: it holds until it expires, and answers of DNS do not change it.
pub const ORIGIN_COMMAND: u32 = 1;

/// Whether `entry` stands for "no PTR" at `now` (nanoseconds of CLOCK_MONOTONIC).
#[must_use]
pub const fn is_absent(entry: &PtrEntry, now: u64) -> bool {
    entry.state == PTR_ABSENT && now < entry.expires
}

const _: () = assert!(size_of::<PtrEntry>() == 16 && align_of::<PtrEntry>() == 8);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers, no padding (size asserted): every bit pattern is valid.
unsafe impl aya::Pod for PtrEntry {}
