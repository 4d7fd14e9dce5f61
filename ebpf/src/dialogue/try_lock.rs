//! One program at a time changes a slot, or uses the memory of its CPU. A lock that is taken is not
//! waited for: the segment is left to a retransmission.
//!
//! It knows nothing of what it protects.

/// Locks `busy`, unless another CPU has it: whether it did.
///
/// # Safety
///
/// `busy` points to a field of a map's value, aligned to its size.
#[inline(always)]
pub(crate) unsafe fn lock(busy: *mut u64) -> bool {
    // SAFETY: the caller's.
    unsafe { exchange(busy, 1) == 0 }
}

/// Unlocks `busy`.
///
/// # Safety
///
/// As [`lock`]; the caller has the lock.
#[inline(always)]
pub(crate) unsafe fn unlock(busy: *mut u64) {
    // SAFETY: the caller's.
    unsafe { exchange(busy, 0) };
}

/// The right to use a CPU's memory; unlocks it when dropped.
pub(crate) struct TryLock(*mut u64);

impl TryLock {
    /// Locks `busy`, unless another CPU has it.
    ///
    /// # Safety
    ///
    /// `busy` points to a field of a map's value, aligned to its size.
    #[inline(always)]
    pub(crate) unsafe fn lock(busy: *mut u64) -> Option<Self> {
        // SAFETY: the caller's. Not `then_some`: dropping what was not locked would unlock it for
        // the one that has it.
        unsafe { if lock(busy) { Some(Self(busy)) } else { None } }
    }
}

impl Drop for TryLock {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: the pointer is the one of `lock`.
        unsafe { unlock(self.0) };
    }
}

/// Writes `value` and returns what was there, atomically and in order
/// (Documentation/bpf/standardization/instruction-set.rst, XCHG). The target lacks the standard
/// library's atomic exchange.
#[cfg(target_arch = "bpf")]
#[inline(always)]
unsafe fn exchange(at: *mut u64, mut value: u64) -> u64 {
    // SAFETY: one instruction, which touches the eight octets at `at` only.
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
