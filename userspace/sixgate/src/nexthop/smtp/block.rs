//! Octets on their way to the socket: slices of a message, written from where they lie.
//!
//! It owns their order and which of them are copied: only those that come in crumbs, since each
//! slice costs the kernel and us more than copying a few octets.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes, BytesMut};

/// Octets to be written, in order.
#[derive(Debug, Default)]
pub(super) struct Block {
    slices: VecDeque<Bytes>,
    /// What follows the slices: crumbs that were copied.
    crumbs: BytesMut,
    length: usize,
}

/// Octets that a slice has at least; shorter ones are copied together.
const SLICE_MIN: usize = 1024;

impl Block {
    /// Appends octets, which are not copied unless they are few.
    pub(super) fn push(&mut self, octets: Bytes) {
        self.length += octets.len();
        if octets.len() < SLICE_MIN {
            self.crumbs.extend_from_slice(&octets);
        } else {
            self.seal();
            self.slices.push_back(octets);
        }
    }

    /// Octets that are still to be written.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Puts the crumbs where they are written from.
    pub(super) fn seal(&mut self) {
        if !self.crumbs.is_empty() {
            self.slices.push_back(self.crumbs.split().freeze());
        }
    }

    /// Forgets what was not written.
    pub(super) fn clear(&mut self) {
        self.slices.clear();
        self.crumbs.clear();
        self.length = 0;
    }
}

/// The octets of a sealed block.
impl Buf for Block {
    fn remaining(&self) -> usize {
        self.length - self.crumbs.len()
    }

    fn chunk(&self) -> &[u8] {
        self.slices.front().map(Bytes::as_ref).unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (place, slice) in into.iter_mut().zip(&self.slices) {
            *place = IoSlice::new(slice);
            count += 1;
        }
        count
    }

    /// Stops at the end: there is no more to be taken.
    fn advance(&mut self, count: usize) {
        let mut left = count;
        while let Some(slice) = self.slices.front_mut() {
            let taken = left.min(slice.len());
            slice.advance(taken);
            self.length -= taken;
            left -= taken;
            if !slice.is_empty() {
                return;
            }
            self.slices.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_are_written_from_where_they_lie_and_only_crumbs_are_copied() {
        let message = Bytes::from(vec![b'x'; 10_000]);
        let ranges = [0..5000, 5000..5003, 5003..5010, 5010..6500, 6500..6501, 6501..10_000];
        let mut block = Block::default();
        for range in &ranges {
            block.push(message.slice(range.clone()));
        }
        block.seal();
        assert_eq!((block.len(), block.remaining()), (10_000, 10_000));
        let mut slices = [IoSlice::new(&[]); 64];
        let count = block.chunks_vectored(&mut slices);
        let lies_there = |slice: &IoSlice<'_>| message.as_ptr_range().contains(&slice.as_ptr());
        let found: Vec<(usize, bool)> =
            slices[..count].iter().map(|slice| (slice.len(), lies_there(slice))).collect();
        assert_eq!(found, [(5000, true), (10, false), (1490, true), (1, false), (3499, true)]);
    }

    #[test]
    fn what_was_written_in_part_goes_on_there() {
        for step in [1, 999, 1000, 1001, 3000] {
            let (mut block, mut written) = (Block::default(), Vec::new());
            let wanted: Vec<u8> = (0..4500).map(|at| at as u8).collect();
            for part in wanted.chunks(1500) {
                block.push(Bytes::copy_from_slice(&part[..1490]));
                block.push(Bytes::copy_from_slice(&part[1490..]));
            }
            block.seal();
            while block.has_remaining() {
                let count = step.min(block.chunk().len());
                written.extend_from_slice(&block.chunk()[..count]);
                block.advance(count);
            }
            assert_eq!((written, block.len()), (wanted, 0), "by {step}");
        }
    }
}
