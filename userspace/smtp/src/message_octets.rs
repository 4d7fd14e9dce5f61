//! Octets of a message on their way from the input to where the message is kept: not copied, but
//! slices of the buffer into which they were read.
//!
//! It owns what is needed to decide whether they are worth their buffer; that decision is the
//! keeper's.

use bytes::Bytes;

/// The next octets of a message, in order.
#[derive(Clone, Debug)]
pub struct MessageOctets {
    slices: Vec<Bytes>,
    buffer: usize,
}

impl MessageOctets {
    /// Slices of one buffer, or constants. All of its `buffer` octets are held as long as one of
    /// the slices is.
    #[must_use]
    pub fn new(slices: Vec<Bytes>, buffer: usize) -> Self {
        Self { slices, buffer }
    }

    /// Octets in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slices.iter().map(Bytes::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slices.iter().all(Bytes::is_empty)
    }

    /// The octets, cut where one was left out between two.
    #[must_use]
    pub fn slices(&self) -> &[Bytes] {
        &self.slices
    }

    /// Memory that the slices hold, octets: their buffer, with what lies in it besides.
    #[must_use]
    pub fn buffer(&self) -> usize {
        self.buffer
    }

    /// Takes the first `count` octets, or all of them, off.
    #[must_use = "the octets are gone otherwise"]
    pub fn split_to(&mut self, count: usize) -> Self {
        let (mut taken, mut left) = (Vec::new(), count);
        for slice in &mut self.slices {
            let front = slice.split_to(left.min(slice.len()));
            left -= front.len();
            taken.push(front);
        }
        taken.retain(|slice| !slice.is_empty());
        self.slices.retain(|slice| !slice.is_empty());
        Self { slices: taken, buffer: self.buffer }
    }
}

/// Octets that fill their buffer.
impl<T: Into<Bytes>> From<T> for MessageOctets {
    fn from(octets: T) -> Self {
        let octets = octets.into();
        Self { buffer: octets.len(), slices: vec![octets] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_taken_off_across_slices_and_stay_where_they_are() {
        let buffer = Bytes::from_static(b"ab.cd.ef");
        let slices = [0..2, 3..5, 6..8].map(|range| buffer.slice(range)).to_vec();
        for count in 0..9 {
            let mut rest = MessageOctets::new(slices.clone(), buffer.len());
            let front = rest.split_to(count);
            assert_eq!((front.len(), rest.len()), (count.min(6), 6 - count.min(6)));
            let all: Vec<&Bytes> = front.slices().iter().chain(rest.slices()).collect();
            assert!(all.iter().all(|slice| buffer.as_ptr_range().contains(&slice.as_ptr())));
            assert_eq!(all.into_iter().flatten().copied().collect::<Vec<u8>>(), b"abcdef");
            assert_eq!((front.buffer(), rest.buffer()), (8, 8));
        }
    }
}
