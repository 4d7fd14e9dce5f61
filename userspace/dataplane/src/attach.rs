//! Puts the program on interfaces: maps first, then links, then `ready`.
//!
//! Pins become visible as a whole, or not at all. The plan holds the projection; it is not computed
//! here.

mod inherit;
mod link;
mod occupied;
mod plan;
mod program;
mod trial;

use std::collections::BTreeSet;

use sixgate_common::{
    names,
    settings::{ANSWER_FALLBACK, ANSWER_KERNEL, READY, Settings},
};

use super::{
    attached::{self, InterfaceCache, Lost, Pinned},
    error::DataplaneError,
    interface, layout,
    loader::Loader,
    maps::Maps,
    object::{self},
    other_pins::{self, Abandoned, Owner},
    pins::{PinSet, adopt, release},
    topology::{LinkFacts, RunningProgram, Topology},
};
use inherit::inherit;
pub(super) use link::replace;
use link::{attach_new, report_replaced};
use occupied::occupied;
use plan::{AttachManner, PlannedResponder};
pub use plan::{AttachMode, AttachPlan, AttachReport, Attached, Failed, ProgramChange, VlanTags};
use program::Program;
pub use trial::{AttachTrial, TriedInterface, try_attach};

/// Fills the maps, puts the program on the plan's interfaces, and lets it refuse. Where sixgate
/// runs already, the maps are kept and brought in line, and every interface gets this build's
/// program without a gap. If it fails, no interface is new; if it fails before the maps agree with
/// the projection, the program refuses nothing.
///
/// # Errors
///
/// Each kind of [`DataplaneError`]; nothing is touched on [`DataplaneError::NoBpffs`],
/// [`DataplaneError::NoInterface`], [`DataplaneError::Occupied`], [`DataplaneError::NoProgram`],
/// [`DataplaneError::KernelLacks`], [`DataplaneError::LayoutDiffers`] and
/// [`DataplaneError::OtherLayout`].
pub fn attach(plan: &AttachPlan) -> Result<Vec<Attached>, DataplaneError> {
    attach_with(plan, &Loader::default())
}

/// The same, by what is known of the program's loading.
///
/// # Errors
///
/// As [`attach`].
pub fn attach_with(plan: &AttachPlan, loader: &Loader) -> Result<Vec<Attached>, DataplaneError> {
    AttachRun { plan, loader, together: true }.run().map(|report| report.attached)
}

/// The same, each interface by itself: one that fails keeps no other from being attached. Nothing
/// is loaded where there is nothing to attach or to bring up to date. What another layout has
/// pinned goes once the program is loaded: it would refuse from maps that nothing keeps up to date.
///
/// # Errors
///
/// As [`attach`] but for what concerns one interface.
pub fn attach_each(plan: &AttachPlan, loader: &Loader) -> Result<AttachReport, DataplaneError> {
    AttachRun { plan, loader, together: false }.run()
}

/// The error that attaching to an interface would meet: another program runs there. Nothing if none
/// does.
///
/// # Errors
///
/// [`DataplaneError::System`].
pub fn occupant(interface: &str) -> Result<Option<DataplaneError>, DataplaneError> {
    match interface::named(interface) {
        Ok(facts) => Ok(facts.running.map(|other| occupied(&facts, other))),
        Err(DataplaneError::NoInterface { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Interfaces to attach to, and the pins to be removed before, whose program is on some of them.
type Interfaces<'a> = (&'a [LinkFacts], &'a [TakenPins]);

/// Pins of sixgate in another directory, and the interfaces of the plan that have their program.
struct TakenPins {
    pins: Abandoned,
    /// The interfaces by their index.
    interfaces: Vec<u32>,
}

/// Takes hold of the pins whose program runs on `interface`; an error if that is not sixgate's, or
/// a daemon uses them.
fn take(
    interface: &LinkFacts,
    running: RunningProgram,
    taken: &mut Vec<TakenPins>,
) -> Result<(), DataplaneError> {
    let pins = match other_pins::owner(running.program) {
        Owner::Pinned(pins) => pins,
        Owner::Hidden => return Err(other_pins::hidden(interface, running)),
        Owner::Other => return Err(occupied(interface, running)),
    };
    match taken.iter_mut().find(|known| known.pins.is(&pins)) {
        Some(known) => known.interfaces.push(interface.index),
        None => {
            let pins = other_pins::hold(pins, interface, running)?;
            taken.push(TakenPins { pins, interfaces: vec![interface.index] });
        }
    }
    Ok(())
}

/// One run of a plan.
struct AttachRun<'a> {
    plan: &'a AttachPlan,
    loader: &'a Loader,
    /// Whether one interface's failure is that of all.
    together: bool,
}

impl AttachRun<'_> {
    fn run(&self) -> Result<AttachReport, DataplaneError> {
        let mut report = AttachReport::default();
        let found = self.find(&mut report)?;
        self.plan.pins.prepare()?;
        let live = if self.together { self.plan.pins.live()? } else { self.plan.pins.own()? };
        let links = live.as_ref().map(attached::pinned).transpose()?.unwrap_or_default();
        let (interfaces, abandoned) = self.free(found, &links, &mut report)?;
        match live {
            Some(live) => self.attach_to_live((&interfaces, &abandoned), &live, &links, &mut report)?,
            None if interfaces.is_empty() && !self.together => {}
            None => self.attach_first((&interfaces, &abandoned), &mut report)?,
        }
        for attached in &mut report.attached {
            let index =
                interfaces.iter().find(|known| known.name == attached.interface).map(|known| known.index);
            let taken =
                abandoned.iter().find(|taken| index.is_some_and(|index| taken.interfaces.contains(&index)));
            attached.taken_from = taken.map(|taken| taken.pins.path().to_owned());
        }
        Ok(report)
    }

    /// The plan's interfaces, each once, with the name that the plan has for it.
    fn find(&self, report: &mut AttachReport) -> Result<Vec<LinkFacts>, DataplaneError> {
        let mut found: Vec<LinkFacts> = Vec::new();
        for name in &self.plan.interfaces {
            let Some(interface) = self.or_failed(name, interface::named(name), report)? else {
                continue;
            };
            if found.iter().all(|known| known.index != interface.index) {
                found.push(interface);
            }
        }
        Ok(found)
    }

    /// Those that no other program holds, and pins that no daemon uses whose program holds them:
    /// that is seen without loading ours.
    fn free(
        &self,
        found: Vec<LinkFacts>,
        links: &[Pinned],
        report: &mut AttachReport,
    ) -> Result<(Vec<LinkFacts>, Vec<TakenPins>), DataplaneError> {
        let others = attached::programs_of_others(&self.plan.pins)?;
        let (mut free, mut abandoned) = (Vec::new(), Vec::new());
        for interface in found {
            let is_ours =
                |program| others.contains(&program) || links.iter().any(|link| link.state.program == program);
            let is_elsewhere = links.iter().any(|link| {
                link.link.lost == Some(Lost::Elsewhere) && interface.is_called(&link.file.interface)
            });
            // what a killed process left has gone meanwhile
            let running = interface::indexed(interface.index)?.and_then(|facts| facts.running);
            let checked = match running.filter(|running| !is_ours(running.program)) {
                Some(other) => take(&interface, other, &mut abandoned),
                None if is_elsewhere => {
                    Err(DataplaneError::OtherNamespace { interface: interface.name.clone() })
                }
                None => Ok(()),
            };
            if self.or_failed(&interface.name, checked, report)?.is_some() {
                free.push(interface);
            }
        }
        Ok((free, abandoned))
    }

    /// Makes everything aside; it comes into sight at once, and only then may the program refuse.
    fn attach_first(
        &self,
        interfaces: Interfaces<'_>,
        report: &mut AttachReport,
    ) -> Result<(), DataplaneError> {
        let staged = self.plan.pins.stage()?;
        let filled = self.fill_staged(interfaces, &staged, report);
        if filled.is_err() || report.attached.is_empty() {
            // The first error is the one to tell; what stays behind is removed at the next attach.
            let _ = staged.remove();
            return filled.map(drop);
        }
        let responder = filled?;
        let live = self.plan.pins.publish(staged)?;
        put_in_force(&mut Maps::open_set(&live)?, self.plan, responder, &live)
    }

    fn fill_staged(
        &self,
        (interfaces, abandoned): Interfaces<'_>,
        staged: &PinSet,
        report: &mut AttachReport,
    ) -> Result<PlannedResponder, DataplaneError> {
        let mut object = self.loader.load(&self.plan.sizes, |name| Some(staged.map(name)))?;
        let responder = PlannedResponder::of(self.plan, object.fallback_reason.as_ref());
        staged.mark_answers(object.fallback_reason.is_none())?;
        let program = object.program()?;
        let file = staged.program();
        program.pin(&file).map_err(|error| DataplaneError::aya(format!("pin {}", file.display()), error))?;
        adopt(&file)?;
        names::ALL.into_iter().try_for_each(|name| adopt(&staged.map(name)))?;
        let mut maps = Maps::open_set(staged)?;
        fill(&mut maps, self.plan)?;
        let network = expect(&mut maps, interfaces)?;
        let manner = AttachManner { mode: self.plan.mode, responder };
        let inherited = inherit(program, interfaces, (manner, &network), (&self.plan.pins, staged))?;
        attached::remove_others(&self.plan.pins)?;
        abandoned.iter().try_for_each(|taken| taken.pins.detach())?;
        for interface in interfaces {
            let attached = match inherited.get(&interface.index) {
                Some(mode) => report_replaced(interface, *mode, manner, ProgramChange::Replaced),
                None => attach_new(program, interface, manner, &network, staged),
            };
            let attached = self.or_failed(&interface.name, attached, report)?;
            report.attached.extend(attached);
        }
        Ok(responder)
    }

    /// Brings the maps in line, hands every pinned link this build's program, then adds the
    /// interfaces that are new.
    fn attach_to_live(
        &self,
        (interfaces, abandoned): Interfaces<'_>,
        live: &PinSet,
        links: &[Pinned],
        report: &mut AttachReport,
    ) -> Result<(), DataplaneError> {
        for name in names::ALL {
            layout::examine(live, name)?;
        }
        let pinned = object::pinned_program(&live.program())?;
        let mut program = Program::of(self.plan, self.loader, live, pinned)?;
        let responder = PlannedResponder::of(self.plan, program.fallback_reason.as_ref());
        let change = match pinned {
            Some((_, tag)) if tag == program.tag()? => ProgramChange::Unchanged,
            _ => ProgramChange::Replaced,
        };
        let mut maps = Maps::open_set(live)?;
        // What refuses goes on refusing meanwhile: entries come before others go.
        fill(&mut maps, self.plan).inspect_err(|_| {
            // The first error is the one to tell.
            let _ = maps.clear_ready();
        })?;
        attached::remove_others(&self.plan.pins)?;
        abandoned.iter().try_for_each(|taken| taken.pins.detach())?;
        let network = expect(&mut maps, interfaces)?;
        let manner = AttachManner { mode: self.plan.mode, responder };
        let handed =
            self.hand_over(&mut program, interfaces, (manner, change), (live, links, &network), report);
        // The maps agree with the projection, even where an interface failed.
        put_in_force(&mut maps, self.plan, responder, live)?;
        handed
    }

    /// Gives the program to every pinned link, then to the interfaces that are new.
    fn hand_over(
        &self,
        program: &mut Program,
        interfaces: &[LinkFacts],
        (manner, change): (AttachManner, ProgramChange),
        (live, links, network): (&PinSet, &[Pinned], &Topology),
        report: &mut AttachReport,
    ) -> Result<(), DataplaneError> {
        let mut held = Vec::new();
        for link in links {
            if replace(program.xdp()?, link)? {
                held.extend(link.link.running);
            }
        }
        program.repin(live)?;
        live.mark_answers(program.fallback_reason.is_none())?;
        for interface in interfaces {
            let attached = match held.iter().find(|held| held.index == interface.index) {
                Some(at) => report_replaced(interface, at.mode, manner, change),
                None => attach_new(program.xdp()?, interface, manner, network, live),
            };
            match self.or_failed(&interface.name, attached, report) {
                Ok(attached) => report.attached.extend(attached),
                Err(error) => {
                    take_back(live, links);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The value, or the failure of all; nothing if it is the failure of this interface alone.
    fn or_failed<T>(
        &self,
        interface: &str,
        outcome: Result<T, DataplaneError>,
        report: &mut AttachReport,
    ) -> Result<Option<T>, DataplaneError> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.together => Err(error),
            Err(error) => {
                report.failed.push(Failed { interface: interface.to_owned(), error });
                Ok(None)
            }
        }
    }
}

/// REPLIES and the keys, then the prefixes, which are read back and compared.
fn fill(maps: &mut Maps, plan: &AttachPlan) -> Result<(), DataplaneError> {
    maps.write_replies(&plan.replies)?;
    maps.draw_slot_key()?;
    maps.set_cookie_key(plan.cookie_key.as_ref())?;
    maps.project(&plan.projection)?;
    match maps.difference(&plan.projection)?.len() {
        0 => Ok(()),
        differences => Err(DataplaneError::NotProjected { differences }),
    }
}

/// Makes STATIONS ready for interfaces that will be attached; returns all interfaces.
fn expect(maps: &mut Maps, interfaces: &[LinkFacts]) -> Result<Topology, DataplaneError> {
    let network = interface::all()?;
    let indices: BTreeSet<u32> = interfaces.iter().map(|interface| interface.index).collect();
    maps.expect(&indices, &network)?;
    Ok(network)
}

/// Writes the plan's SETTINGS, with `ready`: the maps were read back. STATIONS holds the interfaces
/// on which the program may answer.
fn put_in_force(
    maps: &mut Maps,
    plan: &AttachPlan,
    responder: PlannedResponder,
    live: &PinSet,
) -> Result<(), DataplaneError> {
    let Settings { generation, cookie, .. } = maps.settings()?;
    let mut network = InterfaceCache::default();
    let outlooks = attached::of_links(live, &mut network)?;
    maps.review_stations(&outlooks, &mut network)?;
    let answer = match responder {
        PlannedResponder::Daemon => plan.settings.answer,
        PlannedResponder::Kernel if attached::can_answer(&outlooks) => ANSWER_KERNEL,
        PlannedResponder::Kernel | PlannedResponder::Fallback => ANSWER_FALLBACK,
    };
    maps.write_settings(&Settings { answer, ready: READY, generation, cookie, ..plan.settings })
}

/// Takes back what this call attached before it failed: the links that were not pinned before.
fn take_back(live: &PinSet, before: &[Pinned]) {
    // The error that led here is the one to tell.
    let files = live.link_files().unwrap_or_default();
    for file in files.iter().filter(|file| !before.iter().any(|known| known.file == **file)) {
        let _ = release(&file.path);
    }
}
