//! The daemon's look at its interfaces: what became of them since the last one, and attaching again
//! where the configuration names one and it can be.
//!
//! It logs nothing and waits for nothing: the caller does both.

mod ask;
mod failures;
mod links;
mod notice;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use ipnet::Ipv6Net;

use super::{Attempts, Control, ControlError, Destinations, Responder, attach::Incomplete, wanted::Wanted};
use sixgate_dataplane::{
    self as dataplane, AttachedLink, DataplaneError, Failed, InterfaceCache, PinLock, interface_addresses,
};

use crate::config::InterfaceName;

use ask::Asked;
use failures::{Failures, Occupant};
use links::KnownLinks;
pub use notice::{Looked, Notice, Urgency};

/// Keeps the program on the interfaces of the configuration. Mail does not depend on it: a failure
/// is reported and the attempt repeated.
pub struct Keeper {
    control: Arc<Control>,
    lock: Option<PinLock>,
    network: InterfaceCache,
    /// The links that were there at the last look.
    known: KnownLinks,
    /// Failed attempts, by the name in the configuration, or by [`ALL`] or [`ATTACH`].
    failures: Failures,
    /// The interfaces that another process was asked to attach to.
    asked: Asked,
    /// Whether what is attached is to be brought up to date.
    is_stale: bool,
    /// Whether a notice has reported who answers.
    is_introduced: bool,
    /// Whether the last report is that the program is attached nowhere.
    is_unattached_reported: bool,
    /// Whether the directory of the pins went since the last look.
    has_lost_directory: bool,
    /// The interfaces whose addresses are in GUARD, and these addresses.
    guarded: Option<(BTreeSet<u32>, BTreeSet<Ipv6Net>)>,
    /// Where the program ran until pins were removed that were incomplete, and is to run again.
    interrupted: Vec<InterfaceName>,
    warned: BTreeSet<String>,
}

impl Keeper {
    /// For a daemon that has just started, with the lock on the pins if they can be locked already.
    #[must_use]
    pub fn new(control: Arc<Control>, lock: Option<PinLock>) -> Self {
        Self {
            control,
            lock,
            network: InterfaceCache::default(),
            known: KnownLinks::default(),
            failures: Failures::default(),
            asked: Asked::default(),
            is_stale: true,
            is_introduced: false,
            is_unattached_reported: false,
            has_lost_directory: false,
            guarded: None,
            interrupted: Vec::new(),
            warned: BTreeSet::new(),
        }
    }

    /// Looks, and does what there is to do. `has_changed`: something about interfaces or addresses
    /// is known to have changed, so that all of them are looked at and nothing waits for its next
    /// attempt.
    pub fn look(&mut self, has_changed: bool, now: Instant, last: &dyn Destinations) -> Looked {
        let mut looked = Looked::default();
        if has_changed {
            self.network.forget();
        }
        let done = self.look_through(has_changed, now, last, &mut looked);
        self.settle(ALL, done, now, &mut looked);
        self.introduce(&mut looked);
        let failing = [ALL, ATTACH].into_iter().filter_map(|what| self.failures.text(what));
        looked.problems = failing.map(str::to_owned).collect();
        looked
    }

    fn look_through(
        &mut self,
        has_changed: bool,
        now: Instant,
        last: &dyn Destinations,
        looked: &mut Looked,
    ) -> Result<(), ControlError> {
        let is_wanted = !self.control.configured().interfaces.is_empty();
        match self.hold_lock() {
            Ok(()) => {}
            // without a bpf file system for the pins nothing is attached
            Err(ControlError::Dataplane(DataplaneError::NoBpffs { .. })) if !is_wanted => return Ok(()),
            Err(error) => return Err(error),
        }
        let control = Arc::clone(&self.control);
        if self.is_stale && self.known.is_empty() {
            control.pins.release_holds()?;
        }
        if !control.loader.is_refused()
            && let Some(Incomplete { map, interfaces }) = control.remove_incomplete()?
        {
            looked.note(
                Urgency::Warning,
                format!(
                    "the pin of the map {map} was removed: the daemon makes the maps anew and attaches again"
                ),
            );
            looked.reconcile = true;
            self.known.clear();
            self.interrupted = interfaces;
        }
        let links = match dataplane::attached(&control.pins) {
            Err(DataplaneError::OtherLayout { .. }) if is_wanted => Vec::new(),
            links => links?,
        };
        self.known.compare(&control, &links, self.has_lost_directory, looked)?;
        self.has_lost_directory = false;
        if has_changed || self.failures.is_due(ATTACH, now) {
            let mut due = self.due(&links, has_changed, now, looked)?;
            let interrupted = std::mem::take(&mut self.interrupted);
            let more: Vec<_> = interrupted.into_iter().filter(|name| !due.contains(name)).collect();
            due.extend(more);
            if !due.is_empty() || self.is_stale {
                let done = self.attach(&due, now, looked);
                self.settle(ATTACH, done, now, looked);
            }
        }
        let links = dataplane::attached(&control.pins)?;
        if let Some(responder) = control.review(&mut self.network)? {
            looked.answer(urgency(&responder), responder.sentence().replacen("are", "are now", 1));
        } else if self.is_unattached_reported
            && let Some(responder) = control.responder()?
        {
            looked.answer(urgency(&responder), responder.sentence().replacen("are", "are now", 1));
        }
        self.is_unattached_reported &= looked.responder.is_none();
        if has_changed || self.guarded.is_none() || looked.reconcile {
            self.look_at_addresses(&links, last, looked)?;
        }
        Ok(())
    }

    /// Locks the pins, again if their directory was removed.
    fn hold_lock(&mut self) -> Result<(), ControlError> {
        if !self.lock.as_ref().is_some_and(PinLock::holds) {
            self.has_lost_directory |= self.lock.take().is_some();
            self.lock = Some(self.control.lock_pins()?);
        }
        Ok(())
    }

    /// The interfaces of the configuration that are to be attached now. Missing ones are reported.
    fn due(
        &mut self,
        links: &[AttachedLink],
        has_changed: bool,
        now: Instant,
        looked: &mut Looked,
    ) -> Result<Vec<InterfaceName>, ControlError> {
        let control = Arc::clone(&self.control);
        let mut due = Vec::new();
        for name in &control.configured().interfaces {
            let found = dataplane::interface_called(name.as_str())?;
            let state = control.state_of(name, found.as_ref(), links)?;
            match state {
                Wanted::Attached | Wanted::HeldOff => {
                    self.asked.forget(name);
                    self.settle(name.as_str(), Ok(()), now, looked);
                }
                Wanted::Renamed(_) | Wanted::Missing => {
                    self.asked.forget(name);
                    let urgency = if state == Wanted::Missing { Urgency::Error } else { Urgency::Warning };
                    self.failures.note(name.as_str(), (urgency, state.sentence(name), None), now, looked);
                }
                Wanted::Free if control.loader.is_refused() => {}
                Wanted::Free | Wanted::Occupied => {
                    let was_occupied = self.failures.occupant(name.as_str()) == Some(Occupant::Foreign);
                    let is_free_now = state == Wanted::Free && was_occupied;
                    if has_changed || is_free_now || self.failures.is_due(name.as_str(), now) {
                        due.push(name.clone());
                    }
                }
            }
        }
        Ok(due)
    }

    /// Attaches what is due, and brings up to date what is attached.
    fn attach(
        &mut self,
        due: &[InterfaceName],
        now: Instant,
        looked: &mut Looked,
    ) -> Result<(), ControlError> {
        let control = Arc::clone(&self.control);
        if !control.can_attach {
            return self.have_attached(due, now, looked);
        }
        if control.pins.has_other_layouts()? && !due.is_empty() {
            let text =
                "another version of sixgate has pinned its XDP program: this version's takes its place";
            looked.note(Urgency::Warning, text.to_owned());
        }
        let Attempts { attached, failed } = control.attach_each(due, control.configured().attach_mode)?;
        self.is_stale = false;
        looked.reconcile |= !attached.is_empty();
        for attachment in attached {
            // until now it refused from maps that were not kept up to date
            let is_taken = attachment.0.taken_from.is_some();
            looked.note(if is_taken { Urgency::Warning } else { Urgency::Info }, attachment.to_string());
        }
        for Failed { interface, error } in failed {
            self.settle(&interface, Err(error.into()), now, looked);
        }
        self.network.forget();
        let links = dataplane::attached(&control.pins)?;
        self.known.remember(&links);
        Ok(())
    }

    /// Has another process attach what is due. That process has brought up to date what is attached
    /// already, before this daemon's start, but for the configuration, which may have changed.
    fn have_attached(
        &mut self,
        due: &[InterfaceName],
        now: Instant,
        looked: &mut Looked,
    ) -> Result<(), ControlError> {
        if self.is_stale {
            let had_others = self.control.put_configured_in_force()?;
            looked.reconcile |= had_others;
            self.is_stale = false;
            if had_others {
                // by the settings of a daemon that ran then, the other process changed nothing
                self.asked.ask_to_renew(&self.control.attach_request, looked);
            }
        }
        self.asked.ask(&self.control.attach_request, due, now, &mut self.failures, looked);
        Ok(())
    }

    /// The addresses of the attached interfaces, and those beside them.
    fn look_at_addresses(
        &mut self,
        links: &[AttachedLink],
        last: &dyn Destinations,
        looked: &mut Looked,
    ) -> Result<(), ControlError> {
        let indices: BTreeSet<u32> =
            links.iter().filter_map(|link| link.running).map(|running| running.index).collect();
        let guarded = (indices.clone(), interface_addresses(&indices)?);
        if self.guarded.as_ref() != Some(&guarded) {
            looked.reconcile = true;
            self.guarded = Some(guarded);
        }
        let warnings: BTreeSet<String> = self.control.guard_warnings(last)?.into_iter().collect();
        for warning in warnings.difference(&self.warned).take(WARNINGS_MAX) {
            looked.note(Urgency::Warning, warning.clone());
        }
        self.warned = warnings;
        Ok(())
    }

    /// Notes an attempt's outcome.
    fn settle(&mut self, name: &str, outcome: Result<(), ControlError>, now: Instant, looked: &mut Looked) {
        self.failures.settle(name, outcome, self.control.loader.is_refused(), now, looked);
    }

    /// Reports once who answers, when the first attempt is over.
    fn introduce(&mut self, looked: &mut Looked) {
        if self.is_introduced {
            return;
        }
        self.is_introduced = true;
        if !self.control.can_attach && !self.control.configured().interfaces.is_empty() {
            looked.note(Urgency::Info, ASKS.to_owned());
        }
        self.is_unattached_reported = matches!(self.control.responder(), Ok(None) | Err(_));
        match self.control.responder() {
            Ok(Some(responder)) => looked.answer(urgency(&responder), responder.sentence()),
            Ok(None) | Err(_) if self.failures.has(Occupant::OtherPins) => looked
                .answer(
                    Urgency::Warning,
                    "this daemon's XDP program is not attached: refusals are answered by sixgate's program of another \
                     pin directory, whose maps this daemon does not keep"
                        .to_owned(),
                ),
            Ok(None) | Err(_) if self.control.expects_kernel() => looked.answer(
                Urgency::Warning,
                "refusals are answered by the daemon instead of the kernel: no XDP program is attached"
                    .to_owned(),
            ),
            Ok(None) | Err(_) => looked.answer(Urgency::Info, Responder::Daemon.sentence()),
        }
    }
}

fn urgency(responder: &Responder) -> Urgency {
    match responder {
        Responder::Fallback(_) => Urgency::Warning,
        Responder::Kernel { partial_fallbacks, .. } if !partial_fallbacks.is_empty() => Urgency::Warning,
        Responder::Kernel { .. } | Responder::Daemon => Urgency::Info,
    }
}

/// Logged once, where the daemon does not attach by itself.
const ASKS: &str = "this daemon has no rights to attach the XDP program (CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON): \
                    sixgate-attach.service does it";
/// The key of failures that concern all interfaces.
const ALL: &str = "";
/// The key of failures that concern attaching as such.
const ATTACH: &str = "attach all";
/// Addresses that are warned of at one look.
const WARNINGS_MAX: usize = 10;
