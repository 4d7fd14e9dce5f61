//! Values of the three prefix tries: OPTIN (destinations that opted in), GUARD (destinations that
//! are ours) and TRUST (sources that are exempt).
//!
//! The keys are prefixes: a length in bits and 16 octets in network order; they are not owned here.

/// Value of OPTIN: what the owner of a destination prefix decided.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DestEntry {
    /// [`OPTED_IN`] or [`OPTED_OUT`]; any other value counts as not opted in.
    pub flags: u32,
}

/// The destination takes mail over IPv6.
pub const OPTED_IN: u32 = 1;
/// The destination is explicitly excluded from a shorter prefix that opted in.
pub const OPTED_OUT: u32 = 2;

/// Value of GUARD, TRUST and DOMAINS: membership only.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemberEntry {
    /// [`MEMBER`]; reserved for later distinctions.
    pub flags: u32,
}

/// The prefix belongs to the set.
pub const MEMBER: u32 = 1;

const _: () = assert!(size_of::<DestEntry>() == 4 && align_of::<DestEntry>() == 4);
const _: () = assert!(size_of::<MemberEntry>() == 4 && align_of::<MemberEntry>() == 4);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, one integer, no padding: every bit pattern is valid.
unsafe impl aya::Pod for DestEntry {}
#[cfg(feature = "user")]
// SAFETY: `repr(C)`, one integer, no padding: every bit pattern is valid.
unsafe impl aya::Pod for MemberEntry {}
