//! The values that `sixgate status` reports of store, maps and interfaces.
//!
//! It is filled in by the comparison and the findings; it looks at nothing itself.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, Serialize};

use crate::store::Revision;

/// The state of store, maps and interfaces at one instant. The names of the fields are those of
/// `sixgate status --json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Status {
    /// Whether the program's maps are there, as far as this user may look.
    pub attached: bool,
    /// Whether this user may look at the pins: if not, nothing is known of maps and interfaces.
    pub pins_readable: bool,
    /// `enforce` or `shadow`: the maps' if attached, else the configuration's.
    pub mode: Cow<'static, str>,
    /// The responder to refused senders, `kernel` or `daemon`, likewise.
    pub answer: Cow<'static, str>,
    /// The responder by the configuration.
    pub answer_configured: Cow<'static, str>,
    /// Why the daemon does although the kernel should.
    pub answer_fallback: Option<String>,
    /// `rcpt`, `greeting` or `reset`, likewise.
    pub refuse_at: Cow<'static, str>,
    /// The settings in the maps that decide about refusals, by key; empty without maps.
    pub kernel: BTreeMap<String, String>,
    /// Whether the program's replies are those of the configuration.
    pub replies_current: bool,
    /// Whether the program may refuse; without maps it may not.
    pub ready: bool,
    /// Where the program is attached.
    pub interfaces: Vec<InterfaceStatus>,
    /// The tag of this binary's program; none if nothing is attached or this build has no program.
    pub embedded_tag: Option<String>,
    /// Destinations and what was decided about them.
    pub optin: EntryCounts,
    /// Destinations that are ours, those of the interfaces included.
    pub guard: EntryCounts,
    /// Sources that are exempt.
    pub trust: EntryCounts,
    /// How many domains take mail here.
    pub domains: usize,
    /// The store's revision; none if there is no store.
    pub revision: Option<u64>,
    #[serde(skip)]
    pub(super) stamp: Option<Revision>,
    /// The revision that the maps show; none if not attached.
    pub shown: Option<u64>,
    /// Whether the maps show another revision than the store's.
    pub is_behind: bool,
    /// Entries that the maps lack, if they were compared.
    pub missing: usize,
    /// Entries that the maps have too many.
    pub surplus: usize,
    /// The first ten differences.
    pub differences: Vec<String>,
    /// Problems: parts that are not as they should be.
    pub problems: Vec<String>,
    /// Warnings: settings and entries that are likely not meant.
    pub warnings: Vec<String>,
    /// Whether the program runs and, by store and configuration, guards no destination.
    #[serde(skip)]
    pub is_guard_empty: bool,
}

/// The program on one interface.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct InterfaceStatus {
    /// Its name now; when the program was attached, if it is not here.
    pub name: String,
    /// `native` or `generic`; none if the interface is not here, or the program is off it.
    pub mode: Option<String>,
    /// Why the daemon answers there although the kernel should.
    pub fallback: Option<String>,
    /// The tag of the program that runs there, if it is known.
    pub tag: Option<String>,
    /// Whether it is this binary's program; none where that is not known: what looked may not load
    /// it, or has none.
    pub current: Option<bool>,
}

/// Entries of one map.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct EntryCounts {
    /// How many the map has to hold.
    pub wanted: usize,
    /// How many it holds; none if not attached or not counted.
    pub found: Option<usize>,
}

impl Status {
    /// Whether all is as it should be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.agrees() && self.problems.is_empty()
    }

    /// Forgets how the maps differ from the store: they are to show another one.
    pub fn forget_comparison(&mut self) {
        self.is_behind = false;
        (self.missing, self.surplus) = (0, 0);
        self.differences.clear();
        for counts in [&mut self.optin, &mut self.guard, &mut self.trust] {
            counts.found = None;
        }
    }

    /// Whether the maps hold the store's contents and the program may act on them, as far as there
    /// are maps.
    #[must_use]
    pub fn agrees(&self) -> bool {
        !self.attached || self.ready && !self.is_behind && self.missing == 0 && self.surplus == 0
    }
}
