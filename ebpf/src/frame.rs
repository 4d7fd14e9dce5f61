//! The frame in the driver's buffer, as bytes that `parse` and `dialogue` can read.
//!
//! It owns the bounds check that the verifier requires; it knows no header.

use aya_ebpf::{bindings::xdp_md, helpers::bpf_xdp_get_buff_len, programs::XdpContext};
use sixgate_common::bytes::Bytes;

use crate::{
    parse::OFFSET_MAX,
    verifier::{MapSlot, barrier},
};

/// A frame, of which only the first buffer can be read.
pub(crate) struct Linear {
    context: *mut xdp_md,
    data: usize,
    end: usize,
    slot: MapSlot,
}

impl Linear {
    /// The frame of `context`.
    #[inline(always)]
    pub(crate) fn of(context: &XdpContext) -> Self {
        Self { context: context.ctx, data: context.data(), end: context.data_end(), slot: MapSlot::NONE }
    }

    /// The same frame; [`Bytes::forget_range`] uses `slot`.
    #[inline(always)]
    pub(crate) const fn with_slot(self, slot: MapSlot) -> Self {
        Self { slot, ..self }
    }

    /// Octets in the first buffer.
    #[inline(always)]
    pub(crate) fn readable(&self) -> usize {
        // Not `end - data` as it is: the compiler would check later bounds on that number, which
        // tells the verifier nothing.
        barrier(self.end) - barrier(self.data)
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
        let offset = barrier(offset);
        if offset > OFFSET_MAX {
            return None;
        }
        let start = self.data + offset;
        if barrier(start + N) > self.end {
            return None;
        }
        // SAFETY: `start..start + N` lies between `data` and `data_end`, checked above; bytes need
        // no alignment.
        Some(unsafe { &*(start as *const [u8; N]) })
    }

    #[inline(always)]
    fn forget_range(&self, value: usize) -> usize {
        self.slot.forget_range(value)
    }
}
