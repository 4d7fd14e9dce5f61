//! Numbers that look random and are the same in every run: xorshift (Marsaglia, 2003).
//!
//! Not for secrets.

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub(super) struct Numbers(u64);

impl Numbers {
    /// The sequence that `seed` begins.
    pub(super) const fn new(seed: u64) -> Self {
        // zero is the one state that never changes
        Self(seed | 1)
    }

    /// The next number.
    pub(super) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The next number below `limit`.
    pub(super) const fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}
