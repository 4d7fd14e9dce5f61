//! The frame in the driver's buffer, as bytes that `parse` and `answer` can read.
//!
//! It owns the bounds check that the verifier wants to see; it knows no header.

use core::ptr;

use aya_ebpf::{bindings::xdp_md, helpers::bpf_xdp_get_buff_len, programs::XdpContext};
use sixgate_common::bytes::Bytes;

use crate::parse::OFFSET_MAX;

/// `value`, of which the compiler knows nothing: it must leave a comparison as it is written, since the verifier learns
/// from no other form that looks the same to the compiler.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn as_it_is(mut value: usize) -> usize {
    // SAFETY: the one instruction copies a register to itself; without any, the line information would be ambiguous.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack)) };
    value
}

/// The host's target is for linting only.
#[cfg(not(target_arch = "bpf"))]
pub(crate) fn as_it_is(value: usize) -> usize {
    value
}

/// `length`, if it is at least 1 and at most `BOUND`, in a form in which the verifiers of Linux 6.1 to 6.12 know both
/// bounds of the register that is passed on.
///
/// Before 6.8 a branch on `!= 0` raises no lower bound, and a bound learned for one register is not carried over to the
/// one that it was computed from. So 0 is wrapped around to fail the one comparison, and the sum that is passed on is
/// computed after it. Both steps are hidden from the compiler, which would cancel them.
#[inline(always)]
pub(crate) fn nonzero_length<const BOUND: usize>(length: usize) -> Option<usize> {
    let beyond_first = as_it_is(length.wrapping_sub(1));
    if beyond_first > BOUND - 1 {
        return None;
    }
    Some(beyond_first + 1)
}

/// A word in a map's value. What is written there and read back is unknown to the verifier, so that the ways on which it
/// came about are one way from there on.
#[derive(Clone, Copy)]
pub(crate) struct Veil(*mut usize);

impl Veil {
    /// Hides nothing.
    const NONE: Self = Self(ptr::null_mut());

    /// # Safety
    ///
    /// `word` is a word of a map's value that belongs to this CPU alone.
    #[inline(always)]
    pub(crate) const unsafe fn of(word: *mut usize) -> Self {
        Self(word)
    }

    #[inline(always)]
    pub(crate) fn over(self, value: usize) -> usize {
        if self.0.is_null() {
            return value;
        }
        // SAFETY: the word is a map's, and this CPU's own.
        unsafe {
            ptr::write_volatile(self.0, value);
            ptr::read_volatile(self.0)
        }
    }
}

/// A frame, of which only what lies in the first buffer can be read.
pub(crate) struct Linear {
    context: *mut xdp_md,
    data: usize,
    end: usize,
    veil: Veil,
}

impl Linear {
    /// The frame of `context`.
    #[inline(always)]
    pub(crate) fn of(context: &XdpContext) -> Self {
        Self { context: context.ctx, data: context.data(), end: context.data_end(), veil: Veil::NONE }
    }

    /// The same frame; what it reads is [`Bytes::opaque`] by `veil`.
    #[inline(always)]
    pub(crate) const fn behind(self, veil: Veil) -> Self {
        Self { veil, ..self }
    }

    /// Octets in the first buffer.
    #[inline(always)]
    pub(crate) fn readable(&self) -> usize {
        // Not `end - data` as it is: the compiler would check later bounds on that number, which tells the verifier
        // nothing.
        as_it_is(self.end) - as_it_is(self.data)
    }

    /// Octets in all buffers.
    #[inline(always)]
    pub(crate) fn length(&self) -> usize {
        // SAFETY: it is the context that the kernel handed to this program.
        unsafe { bpf_xdp_get_buff_len(self.context) as usize }
    }
}

impl Bytes for Linear {
    #[inline(always)]
    fn reaches(&self, length: usize) -> bool {
        length <= self.readable() || length <= self.length()
    }

    #[inline(always)]
    fn view<const N: usize>(&self, offset: usize) -> Option<&[u8; N]> {
        let offset = as_it_is(offset);
        if offset > OFFSET_MAX {
            return None;
        }
        let start = self.data + offset;
        if as_it_is(start + N) > self.end {
            return None;
        }
        // SAFETY: `start..start + N` lies between `data` and `data_end`, checked above; bytes need no alignment.
        Some(unsafe { &*(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn opaque(&self, value: usize) -> usize {
        self.veil.over(value)
    }
}
