//! The frame in the driver's buffer, as bytes that `parse` can read.
//!
//! It owns the bounds check that the verifier wants to see; it knows no header.

use aya_ebpf::{helpers::bpf_xdp_get_buff_len, programs::XdpContext};
use sixgate_common::stat::Stat;

use crate::parse::{Bytes, OFFSET_MAX};

/// A frame that lies in one buffer.
pub(crate) struct Linear {
    data: usize,
    end: usize,
    length: usize,
}

impl Linear {
    /// The frame of `context`.
    ///
    /// # Errors
    ///
    /// [`Stat::PassMultiBuffer`] when a part of the frame lies in further buffers.
    #[inline(always)]
    pub(crate) fn of(context: &XdpContext) -> Result<Self, Stat> {
        let (data, end) = (context.data(), context.data_end());
        // SAFETY: `ctx` is the context that the kernel handed to this program.
        let length = unsafe { bpf_xdp_get_buff_len(context.ctx) } as usize;
        // Not `end - data`: the compiler would check later bounds on that number, which tells the verifier nothing.
        if length > LENGTH_MAX || data + length > end {
            return Err(Stat::PassMultiBuffer);
        }
        Ok(Self { data, end, length })
    }
}

impl Bytes for Linear {
    #[inline(always)]
    fn length(&self) -> usize {
        self.length
    }

    #[inline(always)]
    fn bytes<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        if offset > OFFSET_MAX {
            return None;
        }
        let start = self.data + offset;
        if start + N > self.end {
            return None;
        }
        // SAFETY: `start..start + N` lies between `data` and `data_end`, checked above; bytes need no alignment.
        Some(unsafe { *(start as *const [u8; N]) })
    }
}

/// Longest frame that is looked at: the verifier wants a bound, and no single buffer reaches it.
const LENGTH_MAX: usize = 0xffff;
