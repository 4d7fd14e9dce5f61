//! The numbers of LOSS and DROPS, on which the lossy programs and user space agree.
//!
//! The one file is part of both crates (`tests/src/xdp_helper.rs` includes it by its path); it
//! knows neither side's library.

/// Every packet is lost at this value of LOSS.
pub(crate) const LOSS_WHOLE: u32 = 1000;

/// Index of DROPS: packets that came in.
pub(crate) const DROPS_IN: u32 = 0;
/// Index of DROPS: packets that went out.
pub(crate) const DROPS_OUT: u32 = 1;
