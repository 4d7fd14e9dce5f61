//! REPLIES: the refusing dialogue's replies as the kernel sends them.
//!
//! The texts are made by user space's one reply table; here is only their shape.

/// Value of REPLIES; the index is a [`crate::refuse::ReplyId`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Octets of [`Self::text`] in use; 0: no such reply.
    pub length: u16,
    /// Where the variable part (a domain or an address) is inserted, an offset into [`Self::text`];
    /// equal to [`Self::length`] when the reply has none.
    pub insert_at: u16,
    /// Ones' complement sum (RFC 1071) of [`Self::text`], not folded, not inverted.
    pub sum: u32,
    /// The reply, CRLF included.
    pub text: [u8; REPLY_MAX],
}

/// Longest reply of the refusing dialogue without its variable part, in octets.
pub const REPLY_MAX: usize = 248;

const _: () = assert!(size_of::<Reply>() == 256 && align_of::<Reply>() == 4);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers and a byte array, no padding (size asserted): every bit pattern is valid.
unsafe impl aya::Pod for Reply {}
