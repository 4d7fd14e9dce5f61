//! SETTINGS: the settings of the XDP program.
//!
//! There are two records, and IN_FORCE names the one that counts. A change is written to the other
//! one as a whole, then IN_FORCE names it: no packet is judged by settings of two moments. Written
//! by the process that attaches, and by commands that change the mode or clear `ready`.

/// Value of SETTINGS.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// [`MODE_ENFORCE`] or [`MODE_SHADOW`]; any other value counts as shadow.
    pub mode: u32,
    /// [`ANSWER_DAEMON`], [`ANSWER_KERNEL`] or [`ANSWER_FALLBACK`]; any other value counts as
    /// daemon.
    pub answer: u32,
    /// [`REFUSE_AT_RCPT`], [`REFUSE_AT_GREETING`] or [`REFUSE_AT_RESET`].
    pub refuse_at: u32,
    /// 1 once the maps are filled and agree with the store; the program refuses only while it is 1.
    pub ready: u32,
    /// The generation of REPLIES that new sessions get (see [`crate::reply`]).
    pub generation: u32,
    /// The number of the key with which cookies are made: its index in COOKIES is the number modulo
    /// [`crate::cookie::KEYS`]. Cookies of the two numbers before it hold, too.
    pub cookie: u32,
    /// The revision of the opt-in store that OPTIN, TRUST and GUARD show. The program does not read
    /// it.
    pub shown: Revision,
}

/// A revision of the opt-in store. Numbers alone do not name one: a store that was put back from a
/// backup counts on from there, with other contents. The stamp is drawn at random for each
/// revision.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Revision {
    /// A u64 in the machine's order, as octets, so that a record of settings needs no padding.
    number: [u8; 8],
    /// A u64, likewise.
    stamp: [u8; 8],
}

impl Revision {
    /// The revision of no store: maps with it have to be compared as a whole.
    pub const NONE: Self = Self::new(0, 0);

    /// A revision of its number and stamp.
    #[must_use]
    pub const fn new(number: u64, stamp: u64) -> Self {
        Self { number: number.to_ne_bytes(), stamp: stamp.to_ne_bytes() }
    }

    /// Counted from 1.
    #[must_use]
    pub const fn number(self) -> u64 {
        u64::from_ne_bytes(self.number)
    }

    /// The random number of this revision.
    #[must_use]
    pub const fn stamp(self) -> u64 {
        u64::from_ne_bytes(self.stamp)
    }
}

/// Refuse what the rules refuse.
pub const MODE_ENFORCE: u32 = 1;
/// Pass everything on and count what enforce would have refused.
pub const MODE_SHADOW: u32 = 2;

/// The program tags, the daemon refuses.
pub const ANSWER_DAEMON: u32 = 1;
/// The program refuses sessions by itself.
pub const ANSWER_KERNEL: u32 = 2;
/// The program should refuse, and kernel or driver cannot: the daemon does, until they can.
pub const ANSWER_FALLBACK: u32 = 3;

/// 550 at each RCPT TO.
pub const REFUSE_AT_RCPT: u32 = 1;
/// 554 as the greeting.
pub const REFUSE_AT_GREETING: u32 = 2;
/// A TCP reset.
pub const REFUSE_AT_RESET: u32 = 3;

/// The maps are filled and checked.
pub const READY: u32 = 1;

const _: () = assert!(size_of::<Settings>() == 40 && align_of::<Settings>() == 4);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers and octets, no padding: every bit pattern is valid.
unsafe impl aya::Pod for Settings {}
