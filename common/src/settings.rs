//! SETTINGS: the record that tells the XDP program what to do.
//!
//! There are two records, and IN_FORCE says which one counts. A change is written to the other one as a whole, then
//! IN_FORCE names it: no packet is judged by settings of two moments. Written by the process that attaches, and by
//! commands that change the mode or clear `ready`.

/// Value of SETTINGS.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// [`MODE_ENFORCE`] or [`MODE_SHADOW`]; any other value counts as shadow.
    pub mode: u32,
    /// [`ANSWER_DAEMON`], [`ANSWER_KERNEL`] or [`ANSWER_HINDERED`]; any other value counts as daemon.
    pub answer: u32,
    /// [`REFUSE_AT_RCPT`], [`REFUSE_AT_GREETING`] or [`REFUSE_AT_RESET`].
    pub refuse_at: u32,
    /// 1 once the maps are filled and agree with the store; the program refuses only while it is 1.
    pub ready: u32,
    /// Which generation of REPLIES new sessions hear (see [`crate::reply`]).
    pub generation: u32,
}

/// Refuse.
pub const MODE_ENFORCE: u32 = 1;
/// Pass everything on and count what enforce would have refused.
pub const MODE_SHADOW: u32 = 2;

/// The program tags, the daemon speaks.
pub const ANSWER_DAEMON: u32 = 1;
/// The program speaks.
pub const ANSWER_KERNEL: u32 = 2;
/// The program should speak, but kernel or driver cannot: the daemon does, until the obstacle is gone.
pub const ANSWER_HINDERED: u32 = 3;

/// 550 at each RCPT TO.
pub const REFUSE_AT_RCPT: u32 = 1;
/// 554 as the greeting.
pub const REFUSE_AT_GREETING: u32 = 2;
/// A TCP reset.
pub const REFUSE_AT_RESET: u32 = 3;

/// The maps are filled and checked.
pub const READY: u32 = 1;

const _: () = assert!(size_of::<Settings>() == 20 && align_of::<Settings>() == 4);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, five integers, no padding: every bit pattern is valid.
unsafe impl aya::Pod for Settings {}
