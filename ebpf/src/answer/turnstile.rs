//! One CPU at a time through a FLOWS entry. Nobody waits: who finds it taken leaves its segment to a retransmission.
//!
//! It knows nothing of what it protects.

/// The right to change an entry; gives it back when dropped.
pub(crate) struct Turnstile(*mut u64);

impl Turnstile {
    /// Passes through `busy`, unless another CPU is inside.
    ///
    /// # Safety
    ///
    /// `busy` points to a field of a map's value, aligned to its size.
    #[inline(always)]
    pub(crate) unsafe fn enter(busy: *mut u64) -> Option<Self> {
        // SAFETY: the caller's.
        let inside = unsafe { exchange(busy, 1) };
        // not `then_some`: dropping what was not entered would let the one inside out
        if inside == 0 { Some(Self(busy)) } else { None }
    }
}

impl Drop for Turnstile {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the pointer is the one of `enter`.
        unsafe { exchange(self.0, 0) };
    }
}

/// Writes `value` and returns what was there, atomically and in order (Documentation/bpf/standardization/instruction-set.rst,
/// XCHG). The target lacks the standard library's atomic exchange.
#[cfg(target_arch = "bpf")]
#[inline(always)]
unsafe fn exchange(at: *mut u64, mut value: u64) -> u64 {
    // SAFETY: one instruction, which touches the word at `at` only.
    unsafe {
        core::arch::asm!(
            "{value} = xchg_64({at} + 0, {value})",
            at = in(reg) at,
            value = inout(reg) value,
            options(nostack)
        );
    }
    value
}

/// The host's target is for linting only.
#[cfg(not(target_arch = "bpf"))]
unsafe fn exchange(at: *mut u64, value: u64) -> u64 {
    // SAFETY: the caller's.
    unsafe { core::ptr::replace(at, value) }
}
