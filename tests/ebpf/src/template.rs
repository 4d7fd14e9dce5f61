//! The bytes of TEMPLATE and the size of ADDRESSES, on which `restore`, `scatter` and user space
//! agree.
//!
//! The one file is part of both crates (the bench includes it by its path); it knows neither side's
//! library.

/// Longest frame that `restore` puts back, in octets.
pub(crate) const TEMPLATE_MAX: usize = 512;

/// Value of TEMPLATE, at index 0: what `restore` puts back before each run.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    /// Where the frame started in its buffer, as the kernel's address. User space writes 0 before
    /// each call of BPF_PROG_TEST_RUN; the first run fills it in.
    pub(crate) start: u64,
    /// Where the frame starts now; only `restore` uses it.
    pub(crate) scratch: u64,
    /// Octets of [`Self::frame`] in use.
    pub(crate) length: u32,
    /// Where in SLOTS the connection's state is.
    pub(crate) slot: u32,
    /// The octets of the frame.
    pub(crate) frame: [u8; TEMPLATE_MAX],
}

/// Number of destinations between which `scatter` changes; a power of two.
pub(crate) const DESTINATIONS: usize = 1 << 16;

const _: () = assert!(size_of::<Template>() == 24 + TEMPLATE_MAX && align_of::<Template>() == 8);
