//! The interfaces with the program, and whether the maps agree with the store.
//!
//! It changes nothing and forms no text for people but the warnings.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use serde::Serialize;
use sixgate_common::settings::{self, Settings};

use super::{
    Control, ControlError, no_destination, no_domain,
    setting_names::{ENFORCE, answer, in_words, mode, refuse_at},
    wanted::Wanted,
};
use sixgate_dataplane::{
    self as dataplane, AttachedLink, Changes, DataplaneError, FallbackReason, MapEntry, Maps, Network,
    Outlook, Pins, attached,
};

use crate::{
    config::Domains,
    store::{Database, Revision, StoreCounts},
};

/// The state of store, maps and interfaces at one instant. The names of the fields are those of
/// `sixgate status --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Whether the program's maps are there, as far as this user may look.
    pub attached: bool,
    /// Whether this user may look at the pins: if not, nothing is known of maps and interfaces.
    pub pins_readable: bool,
    /// `enforce` or `shadow`: the maps' if attached, else the configuration's.
    pub mode: &'static str,
    /// The responder to refused senders, `kernel` or `daemon`, likewise.
    pub answer: &'static str,
    /// The responder by the configuration.
    pub answer_configured: &'static str,
    /// Why the daemon does although the kernel should.
    pub answer_fallback: Option<String>,
    /// `rcpt`, `greeting` or `reset`, likewise.
    pub refuse_at: &'static str,
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
    pub optin: Counts,
    /// Destinations that are ours, those of the interfaces included.
    pub guard: Counts,
    /// Sources that are exempt.
    pub trust: Counts,
    /// How many domains take mail here.
    pub domains: usize,
    /// The store's revision; none if there is no store.
    pub revision: Option<u64>,
    #[serde(skip)]
    stamp: Option<Revision>,
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
#[derive(Clone, Debug, Serialize)]
pub struct InterfaceStatus {
    /// Its name now; when the program was attached, if it is not here.
    pub name: String,
    /// `native` or `generic`; none if the interface is not here, or the program is off it.
    pub mode: Option<String>,
    /// Why the daemon answers there although the kernel should.
    pub fallback: Option<String>,
    /// The tag of the program that runs there, if it is known.
    pub tag: Option<String>,
    /// Whether it is this binary's program.
    pub current: bool,
}

/// Entries of one map.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Counts {
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

/// The settings that decide about refusals, by key, from the maps that are pinned in `bpffs`; empty
/// where there are no maps that this build knows.
#[must_use]
pub fn kernel_settings(bpffs: &Path) -> BTreeMap<String, String> {
    let maps = Maps::open(&Pins::new(bpffs)).ok().flatten();
    maps.and_then(|maps| maps.settings().ok()).map(|settings| in_words(&settings)).unwrap_or_default()
}

impl Control {
    /// Compares store and maps: by the revision that the maps show or, to `verify`, entry by entry.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; a store that cannot be used is a problem of the status.
    pub fn status(&self, verify: bool) -> Result<Status, ControlError> {
        let mut problems = Vec::new();
        let mut pins_readable = true;
        let maps = match self.maps() {
            Err(ControlError::Dataplane(
                error @ (DataplaneError::OtherLayout { .. } | DataplaneError::PinMissing { .. }),
            )) => {
                problems.push(error.to_string());
                None
            }
            Err(ControlError::Dataplane(error)) => {
                pins_readable = false;
                problems.push(error.to_string());
                None
            }
            Err(error) => return Err(error),
            Ok(found) => found,
        };
        let interfaces = if maps.is_some() { self.attached_interfaces()? } else { BTreeSet::new() };
        let mut stored = match self.stored(&interfaces) {
            Ok(stored) => Some(stored),
            Err(ControlError::Store(error)) => {
                problems.push(format!("{:#}", anyhow::Error::new(error)));
                None
            }
            Err(error) => return Err(error),
        };
        let mut status = match &maps {
            Some(maps) => self.attached_status(maps, stored.as_mut(), verify)?,
            None => self.unattached_status(stored.as_ref()),
        };
        if !status.agrees()
            && maps.is_some()
            && let Some(stored) = &mut stored
            && let Ok(_lock) = self.pins.lock_maps(LOOK_WAIT)
            && let Some(maps) = self.maps()?
        {
            // a command may have been between the store and the maps
            stored.look_again()?;
            status = self.attached_status(&maps, Some(stored), verify)?;
        }
        let links = match attached(&self.pins) {
            // reported above
            Err(DataplaneError::OtherLayout { .. }) => Vec::new(),
            Err(_) if !pins_readable => Vec::new(),
            links => links?,
        };
        if pins_readable {
            self.interface_problems(&links, &mut problems, &mut status.warnings)?;
        }
        status.pins_readable = pins_readable;
        status.problems = problems;
        if let Some(Stored { database, counts, .. }) = stored {
            let path = self.store.path().display();
            status.problems.extend(
                database
                    .unwritable()
                    .map(|reason| format!("the opt-in store {path} cannot be changed: {reason}")),
            );
            if maps.is_some() {
                status.warnings.extend(self.guard_warnings(&database)?);
            }
            status.domains = counts.domains;
            let mut doubts = self.policy_warnings(status.mode != ENFORCE, &counts);
            doubts.extend(database.doubts()?);
            status.warnings.splice(0..0, doubts);
        }
        Ok(status)
    }

    fn stored(&self, interfaces: &BTreeSet<u32>) -> Result<Stored, ControlError> {
        let database = self.store.open()?;
        let counts = database.counts()?;
        let revision = database.revision()?;
        let guard = self.guarded(&database.guard()?, interfaces)?.len();
        Ok(Stored { database, counts, revision, guard })
    }

    /// Links that do nothing here, and interfaces of the configuration on which the program does
    /// not run.
    fn interface_problems(
        &self,
        links: &[AttachedLink],
        problems: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Result<(), DataplaneError> {
        for name in &self.interfaces {
            let found = dataplane::interface_called(name.as_str())?;
            let state = self.state_of(name, found.as_ref(), links)?;
            match state {
                Wanted::Attached => {}
                Wanted::HeldOff | Wanted::Renamed(_) => warnings.push(state.sentence(name)),
                Wanted::Missing | Wanted::Free => problems.push(state.sentence(name)),
                Wanted::Occupied => problems.push(match dataplane::occupant(name.as_str())? {
                    Some(error) => error.to_string(),
                    None => state.sentence(name),
                }),
            }
        }
        let is_configured =
            |link: &&AttachedLink| self.interfaces.iter().any(|name| name.as_str() == link.recorded);
        for link in links.iter().filter(|link| !is_configured(link)) {
            problems.extend(link.lost.map(|lost| {
                format!(
                    "the XDP program does not run on {}: {lost}; `sixgate attach` or `sixgate detach`",
                    link.interface
                )
            }));
        }
        if let Err(error) = self.pins.check_place() {
            let is_wanted = !self.interfaces.is_empty();
            problems.extend(is_wanted.then(|| error.to_string()));
        }
        Ok(())
    }

    fn attached_status(
        &self,
        maps: &Maps,
        stored: Option<&mut Stored>,
        verify: bool,
    ) -> Result<Status, ControlError> {
        let settings = maps.settings()?;
        let unattached = self.unattached_status(stored.as_deref());
        let (mut optin, mut guard, mut trust) = (unattached.optin, unattached.guard, unattached.trust);
        let mut changes = Changes::default();
        let mut revision = unattached.revision;
        if let Some(stored) = stored.filter(|_| verify) {
            let (contents, now) = stored.database.contents()?;
            let wanted = self.projection(&contents, &self.attached_interfaces()?)?;
            changes = maps.difference(&wanted)?;
            revision = Some(now.number());
            optin = compared(wanted.optin.len(), &changes, |entry| matches!(entry, MapEntry::OptIn(..)));
            guard = compared(wanted.guard.len(), &changes, |entry| matches!(entry, MapEntry::Guard(_)));
            trust = compared(wanted.trust.len(), &changes, |entry| matches!(entry, MapEntry::Trust(_)));
        }
        let embedded_tag = self.own_tag()?;
        let outlooks = dataplane::outlooks(&self.pins, &mut Network::default())?;
        let responder = self.responder_by(maps, &settings, &outlooks)?;
        let mut warnings = self.size_warnings(maps);
        warnings.extend(
            responder
                .loss()
                .map(|loss| format!("{loss}: the daemon notices within seconds; without it, attach again")),
        );
        let runs = attached(&self.pins)?.iter().any(|link| link.running.is_some());
        let is_guard_empty = guard.wanted == 0 && revision.is_some() && runs;
        Ok(Status {
            attached: true,
            ready: settings.ready == settings::READY,
            interfaces: self.interface_states(embedded_tag.as_deref(), &outlooks)?,
            embedded_tag,
            optin,
            guard,
            trust,
            revision,
            shown: Some(settings.shown.number()),
            is_behind: is_behind(unattached.stamp, &settings),
            missing: changes.added.len(),
            surplus: changes.removed.len(),
            differences: differences(&changes),
            warnings,
            is_guard_empty,
            kernel: in_words(&settings),
            replies_current: self.has_current_replies(maps, &settings)?,
            answer: responder.name(),
            answer_fallback: responder.fallback_reason(),
            ..self.blank(&settings)
        })
    }

    fn unattached_status(&self, stored: Option<&Stored>) -> Status {
        let counts = |wanted| Counts { wanted, found: None };
        let blank = self.blank(&self.configured().settings);
        match stored {
            Some(Stored { counts: stored, revision, guard, .. }) => Status {
                optin: counts(stored.optin),
                guard: counts(*guard),
                trust: counts(stored.trust),
                revision: Some(revision.number()),
                stamp: Some(*revision),
                ..blank
            },
            None => blank,
        }
    }

    /// Settings and entries that are likely not meant, without looking at the maps: for commands
    /// that attach.
    ///
    /// # Errors
    ///
    /// [`ControlError::Store`].
    pub fn doubts(&self) -> Result<Vec<String>, ControlError> {
        let counts = self.store.open()?.counts()?;
        let is_shadow = self.configured().settings.mode != settings::MODE_ENFORCE;
        Ok(self.policy_warnings(is_shadow, &counts))
    }

    fn interface_states(
        &self,
        embedded: Option<&str>,
        outlooks: &BTreeMap<u32, Outlook>,
    ) -> Result<Vec<InterfaceStatus>, DataplaneError> {
        let is_kernels = answer(&self.configured().settings) == "kernel";
        let describe = |link: AttachedLink| {
            let tag = link.tag.map(|tag| tag.to_string());
            let fallback_reason =
                link.running.and_then(|running| outlooks.get(&running.index)?.fallback_reason.as_ref());
            InterfaceStatus {
                name: link.interface,
                mode: link.running.map(|running| running.mode.to_string()),
                fallback: fallback_reason.filter(|_| is_kernels).map(FallbackReason::to_string),
                current: tag.is_some() && tag.as_deref() == embedded,
                tag,
            }
        };
        Ok(attached(&self.pins)?.into_iter().map(describe).collect())
    }

    /// The tag of this binary's program; none in a build without it, or on a kernel that does not
    /// take it.
    fn own_tag(&self) -> Result<Option<String>, DataplaneError> {
        match self.loader.embedded() {
            Ok(embedded) => Ok(Some(embedded.tag.to_string())),
            Err(DataplaneError::NoProgram | DataplaneError::KernelLacks { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Nothing attached, nothing counted.
    fn blank(&self, settings: &Settings) -> Status {
        Status {
            attached: false,
            pins_readable: true,
            mode: mode(settings),
            answer: answer(settings),
            answer_configured: answer(&self.configured().settings),
            answer_fallback: None,
            refuse_at: refuse_at(settings),
            kernel: BTreeMap::new(),
            replies_current: true,
            ready: false,
            interfaces: Vec::new(),
            embedded_tag: None,
            optin: Counts::default(),
            guard: Counts::default(),
            trust: Counts::default(),
            domains: 0,
            revision: None,
            stamp: None,
            shown: None,
            is_behind: false,
            missing: 0,
            surplus: 0,
            differences: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            is_guard_empty: false,
        }
    }

    /// One warning for each list without which mail is refused.
    fn policy_warnings(&self, is_shadow: bool, counts: &StoreCounts) -> Vec<String> {
        let configured = self.configured();
        let lacks_domain = counts.domains == 0 && configured.domains == Domains::Listed;
        let domain = lacks_domain.then(|| no_domain(is_shadow && configured.next_hop_judges));
        let destination = (!counts.opts_anything_in).then(|| no_destination(is_shadow));
        domain.into_iter().chain(destination).collect()
    }

    /// Whether new sessions get the replies that the configuration makes.
    pub(super) fn has_current_replies(
        &self,
        maps: &Maps,
        in_force: &Settings,
    ) -> Result<bool, DataplaneError> {
        let configured = self.configured();
        for (id, wanted) in &configured.replies {
            if maps.reply(in_force.generation, *id)? != *wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn size_warnings(&self, maps: &Maps) -> Vec<String> {
        let (made, configured) = (maps.sizes(), self.sizes);
        [
            ("optin_entries", made.optin, configured.optin),
            ("ptr_entries", made.ptr, configured.ptr),
            ("flow_entries", made.flows, configured.flows),
        ]
        .into_iter()
        .filter(|(_, made, configured)| made != configured)
        .map(|(key, made, configured)| {
            format!(
                "{key} is {configured} in the configuration, but the map has {made}: \
                 `sixgate detach && systemctl restart sixgate`"
            )
        })
        .collect()
    }
}

/// The store with its counts, as read for one status.
struct Stored {
    database: Database,
    counts: StoreCounts,
    revision: Revision,
    /// Prefixes in the store and addresses of interfaces.
    guard: usize,
}

impl Stored {
    /// Takes over what has changed in the store.
    fn look_again(&mut self) -> Result<(), ControlError> {
        self.counts = self.database.counts()?;
        self.revision = self.database.revision()?;
        Ok(())
    }
}

fn is_behind(store: Option<Revision>, settings: &Settings) -> bool {
    store.is_some_and(|revision| revision != settings.shown)
}

/// An entry with another value is in both lists, and counts once in the map.
fn compared(wanted: usize, changes: &Changes, of_this_map: fn(&MapEntry) -> bool) -> Counts {
    let count = |entries: &[MapEntry]| entries.iter().filter(|entry| of_this_map(entry)).count();
    Counts { wanted, found: Some(wanted + count(&changes.removed) - count(&changes.added)) }
}

fn differences(changes: &Changes) -> Vec<String> {
    let missing = changes.added.iter().map(|entry| format!("missing: {entry}"));
    let surplus = changes.removed.iter().map(|entry| format!("surplus: {entry}"));
    missing.chain(surplus).take(DIFFERENCES_SHOWN).collect()
}

/// How long a command is waited for that changes the maps, before a difference is reported.
const LOOK_WAIT: Duration = Duration::from_secs(10);
/// How many differences are named; all are counted.
const DIFFERENCES_SHOWN: usize = 10;
