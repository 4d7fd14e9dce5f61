//! REPLIES: the refusing dialogue's replies as the kernel sends them.
//!
//! The texts are made by user space's one reply table; here is only their shape, and where each one
//! lies.
//!
//! REPLIES holds [`GENERATIONS`] sets. A session gets the set that was in force when it began, so
//! that a retransmission has the very same octets even if the texts changed meanwhile. New texts
//! are written to the set that follows the one in force, then
//! [`crate::settings::Settings::generation`] names it.

use crate::refuse::ReplyId;

/// Value of REPLIES; the index is [`index`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Octets of [`Self::text`] in use; 0: no such reply.
    pub length: u16,
    /// Where the variable part (a domain or an address) is inserted, an offset into [`Self::text`];
    /// equal to [`Self::length`] when the reply has none.
    pub insert_at: u16,
    /// Ones' complement sums (RFC 1071), in 16 bits each and not inverted: in the lower half that
    /// of [`Self::text`] before the variable part, in the upper half that of the text behind it, as
    /// if it began at an even octet. Pairs of octets are in the machine's order, a last odd octet
    /// is followed by a zero. So without a variable part it is the sum of the text, in 32 bits.
    pub sum: u32,
    /// The reply, CRLF included.
    pub text: [u8; REPLY_MAX],
}

/// Longest reply of the refusing dialogue without its variable part, in octets.
pub const REPLY_MAX: usize = 248;

/// Octets by which a frame can grow at its head everywhere: native XDP leaves 256 before the frame
/// (XDP_PACKET_HEADROOM), less the kernel's `struct xdp_frame` (40 octets, include/net/xdp.h). A
/// reply is longer than the segment that it answers by this at most.
pub const GROWTH_MAX: usize = 216;

/// Longest domain that is echoed in the reply to a line that came in parts: its last segment may
/// have one octet, and no space for more. Instead of a longer one the destination address is named.
pub const KEPT_DOMAIN_MAX: usize = 144;

/// Sets of replies: one in force, two that older sessions may still get, one to be written. A power
/// of two.
pub const GENERATIONS: u32 = 4;

/// Entries of REPLIES.
pub const ENTRIES: u32 = GENERATIONS * ReplyId::ALL.len() as u32;

/// Where the reply `id` of a generation lies in REPLIES.
#[must_use]
pub const fn index(generation: u32, id: ReplyId) -> u32 {
    generation % GENERATIONS * ReplyId::ALL.len() as u32 + id as u32
}

/// Whether a session that began with `generation` can still be answered while `in_force` is: the
/// set that is written next, or was overwritten since, belongs to no session.
#[must_use]
pub const fn holds(generation: u8, in_force: u32) -> bool {
    (in_force as u8).wrapping_sub(generation) < GENERATIONS as u8 - 1
}

const _: () = assert!(size_of::<Reply>() == 256 && align_of::<Reply>() == 4);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers and a byte array, no padding: every bit pattern is valid.
unsafe impl aya::Pod for Reply {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_that_is_written_next_belongs_to_no_session() {
        for in_force in [0, 1, 3, 255, 256, 1000] {
            for age in 0..=255_u8 {
                let generation = (in_force as u8).wrapping_sub(age);
                assert_eq!(holds(generation, in_force), age < 3, "{generation} while {in_force}");
            }
            let next = index(in_force + 1, ReplyId::Greeting);
            let used = [in_force, in_force.wrapping_sub(1), in_force.wrapping_sub(2)];
            assert!(used.iter().all(|used| index(*used, ReplyId::Greeting) != next));
        }
    }
}
