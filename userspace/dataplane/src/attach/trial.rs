//! A dry run of attaching: its checks, in its order, without a change.
//!
//! The program is loaded and dropped. Whether a driver takes it is seen only when it is attached.

use std::path::PathBuf;

use sixgate_common::names;

use super::{
    AttachPlan, AttachReport, AttachRun, Attached, ProgramChange,
    link::report_replaced,
    plan::{AttachManner, PlannedResponder},
};
use crate::{
    attached,
    error::DataplaneError,
    fallback_reason::FallbackReason,
    layout,
    loader::Loader,
    maps::Maps,
    object::{self, Sizes},
    projection::MapDifferences,
};

/// What attaching would do.
#[derive(Debug)]
pub struct AttachTrial {
    /// The interfaces, in the plan's order.
    pub interfaces: Vec<TriedInterface>,
    /// The entries that the maps would gain and lose; none where there are no maps yet.
    pub differences: Option<MapDifferences>,
    /// The sizes of the maps.
    pub sizes: Sizes,
    /// Why the program could not answer refused senders, as far as this kernel is the reason.
    pub fallback_reason: Option<FallbackReason>,
}

/// What would become of one interface.
#[derive(Debug)]
pub struct TriedInterface {
    /// The name that it has now.
    pub interface: String,
    /// Whether a program runs there.
    pub change: ProgramChange,
    /// The directory of the pins of sixgate's program that would be taken off, if it is another.
    pub taken_from: Option<PathBuf>,
}

/// Makes the checks of [`super::attach_with`], and changes nothing.
///
/// # Errors
///
/// As [`super::attach`].
pub fn try_attach(plan: &AttachPlan, loader: &Loader) -> Result<AttachTrial, DataplaneError> {
    let run = AttachRun { plan, loader, together: true };
    // with `together` each failure is that of all
    let mut report = AttachReport::default();
    let found = run.find(&mut report)?;
    plan.pins.check_file_system()?;
    let live = plan.pins.live()?;
    let links = live.as_ref().map(attached::pinned).transpose()?.unwrap_or_default();
    let (interfaces, abandoned) = run.free(found, &links, &mut report)?;
    let embedded = loader.embedded()?;
    let responder = PlannedResponder::of(plan, embedded.fallback_reason.as_ref());
    let manner = AttachManner { mode: plan.mode, responder };
    let (mut change, mut differences, mut sizes) = (ProgramChange::New, None, plan.sizes);
    if let Some(live) = &live {
        for name in names::ALL {
            layout::examine(live, name)?;
        }
        change = match object::pinned_program(&live.program())? {
            Some((_, tag)) if tag == embedded.tag => ProgramChange::Unchanged,
            _ => ProgramChange::Replaced,
        };
        let maps = Maps::open_set(live)?;
        differences = Some(maps.difference(&plan.projection)?);
        sizes = maps.sizes();
    }
    let mut tried = Vec::new();
    for interface in &interfaces {
        let running = links.iter().filter_map(|link| link.link.running);
        let held = running.into_iter().find(|running| running.index == interface.index);
        let change = match held {
            Some(at) => {
                let Attached { change, .. } = report_replaced(interface, at.mode, manner, change)?;
                change
            }
            None => ProgramChange::New,
        };
        let taken = abandoned.iter().find(|taken| taken.interfaces.contains(&interface.index));
        tried.push(TriedInterface {
            interface: interface.name.clone(),
            change,
            taken_from: taken.map(|taken| taken.pins.path().to_owned()),
        });
    }
    Ok(AttachTrial { interfaces: tried, differences, sizes, fallback_reason: embedded.fallback_reason })
}
