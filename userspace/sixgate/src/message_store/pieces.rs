//! The octets of an arriving message that stay in memory.
//!
//! It owns which of them stay in the buffer into which they were read, and the memory that this
//! holds. Octets that are not worth their buffer are copied, once, to where they lie close
//! together. The header is always in one piece.

use bytes::{BufMut, Bytes, BytesMut};
use sixgate_smtp::MessageOctets;

use super::header_end::HeaderEnd;

/// The most memory that `length` octets hold, octets: a header grows by doubling, and space for
/// copies is made ahead.
pub(super) const fn memory_max(length: usize) -> usize {
    2 * length + 2 * SPACE
}

/// Octets in memory, in order.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    header: HeaderEnd,
    pieces: Vec<Bytes>,
    /// What follows the pieces: octets that were copied, and space for more.
    open: BytesMut,
    length: usize,
    memory: usize,
}

/// What becomes of octets.
struct Plan {
    /// How far the header is read with them.
    header: HeaderEnd,
    /// How many of them are copied; the rest stays where it is.
    copied: usize,
    /// New space for the copy that has to be made, octets.
    space: Option<usize>,
    /// Memory that is held then, octets.
    memory: usize,
}

impl Pieces {
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Memory that will be held once the first `count` of `octets` have been added, octets: of each
    /// buffer all, even if a part of it is kept.
    pub(super) fn memory_with(&self, octets: &MessageOctets, count: usize) -> usize {
        self.plan(octets, count).memory
    }

    pub(super) fn add(&mut self, mut octets: MessageOctets) {
        let Plan { header, copied, space, memory } = self.plan(&octets, octets.len());
        self.length += octets.len();
        self.memory = memory;
        if let Some(space) = space.filter(|_| !self.header.is_over()) {
            let mut larger = BytesMut::with_capacity(space);
            larger.put_slice(&self.open);
            self.open = larger;
        }
        self.header = header;
        for slice in octets.split_to(copied).slices() {
            let fits = slice.len().min(self.open.capacity() - self.open.len());
            let (front, rest) = slice.split_at(fits);
            self.open.put_slice(front);
            if !rest.is_empty() {
                self.close();
                self.open = BytesMut::with_capacity(space.unwrap_or(rest.len()));
                self.open.put_slice(rest);
            }
        }
        if !octets.is_empty() {
            self.close();
            self.pieces.extend_from_slice(octets.slices());
        }
    }

    /// The octets. The first piece has the whole header.
    pub(super) fn into_pieces(mut self) -> Vec<Bytes> {
        self.close();
        self.pieces
    }

    /// Ends the piece that was copied; what follows it in order may lie elsewhere.
    fn close(&mut self) {
        if !self.open.is_empty() {
            self.pieces.push(self.open.split().freeze());
        }
    }

    fn plan(&self, octets: &MessageOctets, count: usize) -> Plan {
        let slices = octets.slices();
        let mut header = self.header;
        let mut in_header = if header.is_over() { 0 } else { header.read(slices, count) };
        let is_in_one = slices.first().is_some_and(|first| first.len() >= in_header);
        if self.length == 0 && header.is_over() && is_in_one {
            in_header = 0;
        }
        let stays = is_worth_its_buffer(octets, count - in_header);
        let copied = if stays { in_header } else { count };
        let space = self.space_for(copied);
        let mut memory = self.memory;
        if let Some(space) = space {
            // a header in the making is moved to the new space
            let freed = if self.header.is_over() { 0 } else { self.open.capacity() };
            memory = memory + space + PIECE - freed.min(memory);
        }
        if stays {
            memory += octets.buffer() + (slices.len() + 1) * PIECE;
        }
        Plan { header, copied, space, memory }
    }

    /// The space that has to be made for `copied` octets; `None` if there is enough.
    fn space_for(&self, copied: usize) -> Option<usize> {
        let (length, capacity) = (self.open.len(), self.open.capacity());
        let lacking = copied.checked_sub(capacity - length).filter(|lacking| *lacking > 0)?;
        Some(if self.header.is_over() {
            lacking.max(SPACE)
        } else {
            (length + copied).next_power_of_two().max(SPACE)
        })
    }
}

/// Whether `count` of the octets may hold all of their buffer: three quarters of it at least, and
/// not in crumbs.
fn is_worth_its_buffer(octets: &MessageOctets, count: usize) -> bool {
    count >= KEPT_MIN && count >= octets.buffer() / 4 * 3 && count >= octets.slices().len() * SLICE_MIN
}

/// Space that is made at once for octets that are copied. Most headers fit in.
const SPACE: usize = 16 << 10;
/// Octets that may stay where they are. Fewer are cheaper to copy.
const KEPT_MIN: usize = 4 << 10;
/// Mean length of the slices in which they may be: each dot that was removed cuts one.
const SLICE_MIN: usize = 1 << 10;
/// Memory for an entry of the list of pieces, which grows by doubling.
const PIECE: usize = 2 * size_of::<Bytes>();

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Octets in a buffer of `buffer` octets, cut into `slices`.
    fn octets(content: &[u8], buffer: usize, slices: usize) -> MessageOctets {
        let whole = Bytes::copy_from_slice(content);
        let length = content.len().div_ceil(slices).max(1);
        let cut =
            (0..content.len()).step_by(length).map(|at| whole.slice(at..content.len().min(at + length)));
        MessageOctets::new(cut.collect(), buffer)
    }

    fn lies_in(piece: &Bytes, octets: &MessageOctets) -> bool {
        octets.slices().iter().any(|slice| slice.as_ptr_range().contains(&piece.as_ptr()))
    }

    #[test]
    fn octets_worth_their_buffer_stay_in_it_and_others_are_copied() {
        const HEADER: &[u8] = b"A: b\r\n\r\n";
        let large = [HEADER, &[b'x'; (16 << 10) - HEADER.len()]].concat();
        let rows: [(&str, usize, usize, bool); 6] = [
            ("a full buffer", 16 << 10, 1, true),
            ("three quarters of a buffer", (16 << 10) / 3 * 4, 1, true),
            ("less than that", (16 << 10) / 3 * 4 + 8, 1, false),
            ("a few removed dots", 16 << 10, 16, true),
            ("many of them", 16 << 10, 17, false),
            ("far too many", 16 << 10, 1000, false),
        ];
        for (claim, buffer, slices, stays) in rows {
            let octets = octets(&large, buffer, slices);
            let mut pieces = Pieces::default();
            pieces.add(octets.clone());
            let found = pieces.into_pieces();
            assert_eq!(found.iter().all(|piece| lies_in(piece, &octets)), stays, "{claim}");
            assert_eq!(found.len(), if stays { slices } else { 1 }, "{claim}");
        }
    }

    #[test]
    fn a_header_is_in_one_piece_and_the_body_behind_it_stays_where_it_is() {
        let header = b"A: b\r\n".repeat(5000);
        let mut pieces = Pieces::default();
        for part in header.chunks(1400) {
            pieces.add(octets(part, 32 << 10, 1));
        }
        let last = octets(&[b"\r\n", &[b'x'; 32 << 10][..]].concat(), 40 << 10, 1);
        pieces.add(last.clone());
        assert!(pieces.memory <= (32 << 10) + (40 << 10) + 10 * PIECE, "{}", pieces.memory);
        let found = pieces.into_pieces();
        assert_eq!((found.len(), found[0].len()), (2, header.len() + 2));
        assert!(found[0].ends_with(b"\r\n\r\n") && lies_in(&found[1], &last));
    }

    proptest! {
        #[test]
        fn memory_is_foretold_and_at_most_twice_what_is_kept(
            parts in prop::collection::vec((1_usize..20_000, 0_usize..20_000, 1_usize..40), 0..12),
            header in 0_usize..30_000,
        ) {
            let (mut pieces, mut wanted) = (Pieces::default(), Vec::new());
            for (length, besides, slices) in parts {
                let start = wanted.len();
                let octet = |at: usize| match at.checked_sub(header) {
                    Some(behind) if behind < 4 => b"\r\n\r\n"[behind],
                    _ => b'a' + (at % 26) as u8,
                };
                let part: Vec<u8> = (start..start + length).map(octet).collect();
                let part_octets = octets(&part, length + besides, slices);
                let foretold = pieces.memory_with(&part_octets, length);
                pieces.add(part_octets);
                wanted.extend(part);
                prop_assert_eq!(pieces.memory, foretold);
                prop_assert!(pieces.open.capacity() <= pieces.memory);
                prop_assert!(pieces.memory <= memory_max(wanted.len()));
                prop_assert_eq!(pieces.length(), wanted.len());
            }
            let found = pieces.into_pieces();
            prop_assert!(found.iter().all(|piece| !piece.is_empty()));
            prop_assert!(found.first().is_none_or(|first| first.len() >= wanted.len().min(header + 4)));
            prop_assert_eq!(found.concat(), wanted);
        }
    }
}
