//! Values of the three prefix tries OPTIN (destinations that opted in), GUARD (destinations that
//! are ours) and TRUST (sources that are exempt), and of DOMAINS.
//!
//! The keys of a trie are prefixes: a length in bits and 16 octets in network order; they are not
//! owned here.

/// Value of OPTIN: what the owner of a destination prefix decided.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DestEntry {
    /// [`OPTED_IN`] or [`OPTED_OUT`]; any other value counts as not opted in.
    pub flags: u32,
}

/// The decision of a destination prefix's owner.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum OptIn {
    /// It takes mail over IPv6.
    In,
    /// It does not, although a shorter prefix does.
    Out,
}

impl OptIn {
    /// Its name in files and output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }

    /// The value of OPTIN that stands for it.
    #[must_use]
    pub const fn entry(self) -> DestEntry {
        match self {
            Self::In => DestEntry { flags: OPTED_IN },
            Self::Out => DestEntry { flags: OPTED_OUT },
        }
    }
}

impl DestEntry {
    /// How the program takes it: what is not opted in is out.
    #[must_use]
    pub const fn decision(self) -> OptIn {
        match self.flags {
            OPTED_IN => OptIn::In,
            _ => OptIn::Out,
        }
    }
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
