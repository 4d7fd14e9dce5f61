//! The forms in which the verifier learns the range of a number, or forgets it.
//!
//! It owns the forms in which numbers are handed on; it knows neither frames nor sessions.

use core::ptr;

/// `value`, about which the compiler knows nothing (`barrier_var` in libbpf's bpf_helpers.h): it
/// must leave a comparison as it is written, since the verifier learns from no other form that
/// looks the same to the compiler.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) fn barrier(mut value: usize) -> usize {
    // SAFETY: the one instruction copies a register to itself; without any, the line information
    // would be ambiguous.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) value, options(pure, nomem, nostack)) };
    value
}

/// The host's target is for linting only.
#[cfg(not(target_arch = "bpf"))]
pub(crate) fn barrier(value: usize) -> usize {
    value
}

/// `length`, if it is at least 1 and at most `BOUND`, in a form in which the verifiers of Linux 6.1
/// to 6.12 know both bounds of the register that is passed on.
///
/// Before 6.8 a branch on `!= 0` raises no lower bound, and a bound learned for one register is not
/// carried over to the one that it was computed from. So 0 is wrapped around to fail the one
/// comparison, and the sum that is passed on is computed after it. Both steps are hidden from the
/// compiler, which would cancel them.
#[inline(always)]
pub(crate) fn nonzero_length<const BOUND: usize>(length: usize) -> Option<usize> {
    let beyond_first = barrier(length.wrapping_sub(1));
    if beyond_first > BOUND - 1 {
        return None;
    }
    Some(beyond_first + 1)
}

/// Eight octets of a map's value that numbers are written to and read back from: the verifier does
/// not follow what is in them.
#[derive(Clone, Copy)]
pub(crate) struct MapSlot(*mut usize);

impl MapSlot {
    /// Without memory: [`Self::forget_range`] makes the verifier forget nothing.
    pub(crate) const NONE: Self = Self(ptr::null_mut());

    /// # Safety
    ///
    /// `slot` points into a map's value that belongs to this CPU alone.
    #[inline(always)]
    pub(crate) const unsafe fn of(slot: *mut usize) -> Self {
        Self(slot)
    }

    /// `value`; makes the verifier forget the range, so that it can prune states: the paths on
    /// which the value was computed are one path from there on.
    #[inline(always)]
    pub(crate) fn forget_range(self, value: usize) -> usize {
        if self.0.is_null() {
            return value;
        }
        // SAFETY: the slot is a map's, and this CPU's own.
        unsafe {
            ptr::write_volatile(self.0, value);
            ptr::read_volatile(self.0)
        }
    }
}
