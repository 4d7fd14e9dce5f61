//! The source of octets: a frame in the driver's buffer, or a slice in user space.
//!
//! It knows no format; the kernel and user space read lines and headers with the same code through
//! it.

/// Octets that can be read a few at a time.
pub trait Bytes {
    /// Whether there are `length` octets at least.
    fn reaches(&self, length: usize) -> bool;

    /// `N` octets from `offset` on, or nothing when there are not as many.
    fn view<const N: usize>(&self, offset: usize) -> Option<&[u8; N]>;

    /// `value`; makes the kernel's verifier forget the range, so that it can prune states: it would
    /// follow each value that a search can find on its own, through all that comes after the
    /// search.
    #[inline(always)]
    fn forget_range(&self, value: usize) -> usize {
        value
    }

    /// The octet at `offset`, if there is one.
    #[inline(always)]
    fn octet(&self, offset: usize) -> Option<u8> {
        self.view::<1>(offset).map(|[octet]| *octet)
    }

    /// Two octets as an integer in the order of this machine.
    #[inline(always)]
    fn u16_ne(&self, offset: usize) -> Option<u16> {
        self.view(offset).map(|octets| u16::from_ne_bytes(*octets))
    }

    /// Four octets as an integer in the order of this machine.
    #[inline(always)]
    fn u32_ne(&self, offset: usize) -> Option<u32> {
        self.view(offset).map(|octets| u32::from_ne_bytes(*octets))
    }

    /// Eight octets as an integer in the order of this machine.
    #[inline(always)]
    fn u64_ne(&self, offset: usize) -> Option<u64> {
        self.view(offset).map(|octets| u64::from_ne_bytes(*octets))
    }
}

impl Bytes for [u8] {
    fn reaches(&self, length: usize) -> bool {
        self.len() >= length
    }

    fn view<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        self.get(offset..)?.first_chunk()
    }
}

/// Not 0 if `octet` is among the eight of `word`.
#[inline(always)]
pub(crate) const fn has_octet(word: u64, octet: u8) -> u64 {
    let word = word ^ (ONES * octet as u64);
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

/// 1 in each of eight octets.
pub(crate) const ONES: u64 = 0x0101_0101_0101_0101;
