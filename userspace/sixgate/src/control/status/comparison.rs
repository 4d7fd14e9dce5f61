//! The state of the program and its maps, compared with the store.
//!
//! Problems and warnings are found elsewhere; it reads only.

use std::collections::{BTreeMap, BTreeSet};

use sixgate_common::settings::{self, Settings};
use sixgate_dataplane::{
    self as dataplane, AttachedLink, DataplaneError, FallbackReason, InterfaceCache, MapDifferences,
    MapEntry, Maps, Outlook, attached,
};

use super::report::{EntryCounts, InterfaceStatus, Status};
use crate::{
    control::{
        Control, ControlError,
        setting_names::{answer, by_key, mode, refuse_at},
    },
    store::{Database, Revision, StoreCounts},
};

/// The store with its counts, as read for one status.
pub(super) struct Stored {
    pub(super) database: Database,
    pub(super) counts: StoreCounts,
    revision: Revision,
    /// Prefixes in the store and addresses of interfaces.
    guard: usize,
}

impl Stored {
    /// Takes over what has changed in the store.
    pub(super) fn look_again(&mut self) -> Result<(), ControlError> {
        self.counts = self.database.counts()?;
        self.revision = self.database.revision()?;
        Ok(())
    }
}

impl Control {
    pub(super) fn stored(&self, interfaces: &BTreeSet<u32>) -> Result<Stored, ControlError> {
        let database = self.store.open()?;
        let counts = database.counts()?;
        let revision = database.revision()?;
        let guard = self.guarded(&database.guard()?, interfaces)?.len();
        Ok(Stored { database, counts, revision, guard })
    }

    pub(super) fn attached_status(
        &self,
        maps: &Maps,
        stored: Option<&mut Stored>,
        verify: bool,
    ) -> Result<Status, ControlError> {
        let settings = maps.settings()?;
        let unattached = self.unattached_status(stored.as_deref());
        let (mut optin, mut guard, mut trust) = (unattached.optin, unattached.guard, unattached.trust);
        let mut changes = MapDifferences::default();
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
        let outlooks = dataplane::outlooks(&self.pins, &mut InterfaceCache::default())?;
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
            kernel: by_key(&settings),
            replies_current: self.has_current_replies(maps, &settings)?,
            answer: responder.name().into(),
            answer_fallback: responder.fallback_reason(),
            ..self.blank(&settings)
        })
    }

    pub(super) fn unattached_status(&self, stored: Option<&Stored>) -> Status {
        let counts = |wanted| EntryCounts { wanted, found: None };
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
                current: embedded.map(|embedded| tag.as_deref() == Some(embedded)),
                tag,
            }
        };
        Ok(attached(&self.pins)?.into_iter().map(describe).collect())
    }

    /// The tag of this binary's program; none in a build without it, on a kernel that does not take
    /// it, or in a process that may not load it.
    fn own_tag(&self) -> Result<Option<String>, DataplaneError> {
        if !self.can_attach {
            return Ok(None);
        }
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
            mode: mode(settings).into(),
            answer: answer(settings).into(),
            answer_configured: answer(&self.configured().settings).into(),
            answer_fallback: None,
            refuse_at: refuse_at(settings).into(),
            kernel: BTreeMap::new(),
            replies_current: true,
            ready: false,
            interfaces: Vec::new(),
            embedded_tag: None,
            optin: EntryCounts::default(),
            guard: EntryCounts::default(),
            trust: EntryCounts::default(),
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

    /// Whether new sessions get the replies that the configuration makes.
    pub(in crate::control) fn has_current_replies(
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
}

fn is_behind(store: Option<Revision>, settings: &Settings) -> bool {
    store.is_some_and(|revision| revision != settings.shown)
}

/// An entry with another value is in both lists, and counts once in the map.
fn compared(wanted: usize, changes: &MapDifferences, of_this_map: fn(&MapEntry) -> bool) -> EntryCounts {
    let count = |entries: &[MapEntry]| entries.iter().filter(|entry| of_this_map(entry)).count();
    EntryCounts { wanted, found: Some(wanted + count(&changes.removed) - count(&changes.added)) }
}

fn differences(changes: &MapDifferences) -> Vec<String> {
    let missing = changes.added.iter().map(|entry| format!("missing: {entry}"));
    let surplus = changes.removed.iter().map(|entry| format!("surplus: {entry}"));
    missing.chain(surplus).take(DIFFERENCES_SHOWN).collect()
}

/// How many differences are named; all are counted.
const DIFFERENCES_SHOWN: usize = 10;
