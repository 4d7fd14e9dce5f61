//! The limits of an evaluation (RFC 7208 4.6.4).
//!
//! They are kept in `evaluate`.

/// Terms that ask DNS: `include`, `a`, `mx`, `ptr`, `exists`, `redirect`, and once more each that
/// holds `%{p}` (RFC 7208 4.6.4). This bounds the recursion, too.
pub const MAX_DNS_TERMS: usize = 10;
/// Mail servers of one `mx` (RFC 7208 4.6.4).
pub const MAX_SERVERS: usize = 10;
/// PTR names of the client that are looked at (RFC 7208 4.6.4).
pub const MAX_NAMES: usize = 10;
/// Questions whether a host without an address of the client's family has one of the other. Beyond
/// them it is believed.
pub const MAX_OTHER_FAMILY: usize = 10;
/// Questions that one evaluation asks DNS at most, which is what the limits above come to: the
/// record, ten times `mx` with ten servers, the other family, an explanation, and the client's
/// names for a `%{p}` in it.
pub const MAX_QUERIES: usize = 1 + MAX_DNS_TERMS * (1 + MAX_SERVERS) + MAX_OTHER_FAMILY + 1 + (1 + MAX_NAMES);

/// Terms of records for which DNS has nothing (RFC 7208 4.6.4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VoidTerms {
    /// How many there may be: the limit that RFC 7208 lets be configured.
    pub limit: u8,
    /// Whether a term counts whose hosts have addresses, but of the other family than the client's
    /// only.
    pub count_missing_family: bool,
}

impl VoidTerms {
    /// Two, as RFC 7208 recommends, and none because of a family: records are written for IPv4.
    pub const DEFAULT: Self = Self { limit: 2, count_missing_family: false };
}
