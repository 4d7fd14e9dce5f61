//! The bytes of TEMPLATE, ROTATION and ROTATED and the size of ADDRESSES, on which `restore`,
//! `rotate`, `scatter` and user space agree.
//!
//! The one file is part of both crates (the bench includes it by its path); it knows neither side's
//! library.

/// Longest frame that `restore` puts back, in octets.
pub(crate) const TEMPLATE_MAX: usize = 512;

/// Where the frame of a call of BPF_PROG_TEST_RUN lies, as the kernel's addresses.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Origin {
    /// Where the frame started in its buffer. User space writes 0 before each call; the first run
    /// fills it in.
    pub(crate) start: u64,
    /// Where the frame starts now; user space does not use it.
    pub(crate) now: u64,
}

/// Value of TEMPLATE, at index 0: what `restore` puts back before each run.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    pub(crate) origin: Origin,
    /// Octets of [`Self::frame`] in use.
    pub(crate) length: u32,
    /// Where in SLOTS the connection's state is.
    pub(crate) slot: u32,
    /// The octets of the frame.
    pub(crate) frame: [u8; TEMPLATE_MAX],
}

/// Value of ROTATION, at index 0: the packet that `rotate` takes next.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rotation {
    pub(crate) origin: Origin,
    /// The index of the next packet in ROTATED. User space writes 0 before each call.
    pub(crate) next: u32,
    /// Number of packets, after which the first one follows again.
    pub(crate) count: u32,
}

/// Value of ROTATED: a packet of one of the sessions that `rotate` plays.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotated {
    /// Octets of [`Self::frame`] in use.
    pub(crate) length: u32,
    /// Where in SLOTS the session's state is to be freed before the packet, or [`KEEPS_SLOT`].
    pub(crate) frees: u32,
    /// The octets of the frame.
    pub(crate) frame: [u8; ROTATED_MAX],
}

/// [`Rotated::frees`] of a packet that does not open a session.
pub(crate) const KEEPS_SLOT: u32 = u32::MAX;
/// Longest frame that `rotate` puts back, in octets.
pub(crate) const ROTATED_MAX: usize = 120;
/// Packets that `rotate` can have.
pub(crate) const ROTATED_ENTRIES: usize = 8 << 10;

/// Number of destinations between which `scatter` changes; a power of two.
pub(crate) const DESTINATIONS: usize = 1 << 16;

const _: () = assert!(size_of::<Template>() == 24 + TEMPLATE_MAX && align_of::<Template>() == 8);
const _: () = assert!(size_of::<Rotation>() == 24 && align_of::<Rotation>() == 8);
const _: () = assert!(size_of::<Rotated>() == 8 + ROTATED_MAX && align_of::<Rotated>() == 4);
