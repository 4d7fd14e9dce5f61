//! The program's current attachments, the reasons that keep it from answering, and its removal.
//!
//! It works from the pins alone, with or without the daemon that made them.

use std::{collections::BTreeMap, fmt, thread, time::Duration};

use sixgate_common::names;

use super::{
    error::DataplaneError,
    fallback_reason::{self, Outlook},
    interface, layout,
    object::{self, ProgramTag},
    pinned_link::{self, LinkState},
    pins::{LinkFile, PinSet, Pins, release},
    topology::{LinkFacts, RunMode, Topology},
};

/// One pinned link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttachedLink {
    /// The interface's name now; where it is not here, the one that it had when it was attached.
    pub interface: String,
    /// Where the program runs; nothing if it does not run in this network namespace.
    pub running: Option<AttachedAt>,
    /// Why it does not run there.
    pub lost: Option<Lost>,
    /// The name of the interface when the program was attached.
    pub recorded: String,
    /// The kernel's id of the link.
    pub link: u32,
    /// The kernel's id of the program.
    pub program: u32,
    /// The program's tag; nothing when the link holds another program than the pinned one (an
    /// attach was interrupted; the next one repairs).
    pub tag: Option<ProgramTag>,
}

/// Where an attached program runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AttachedAt {
    /// The interface's index.
    pub index: u32,
    /// In the driver or in the stack.
    pub mode: RunMode,
}

/// Why a pinned link does nothing here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lost {
    /// Its interface was deleted, or the link was detached.
    Detached,
    /// Its interface is in another network namespace.
    Elsewhere,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detached => "the interface was deleted, or another program detached the XDP link",
            Self::Elsewhere => "the interface is in another network namespace",
        })
    }
}

/// The interfaces of this network namespace, listed once and only if that matters.
#[derive(Debug, Default)]
pub struct InterfaceCache(Option<Topology>);

impl InterfaceCache {
    /// Lets the next look list them again.
    pub fn forget(&mut self) {
        self.0 = None;
    }

    pub(super) fn all(&mut self) -> Result<&Topology, DataplaneError> {
        match &mut self.0 {
            Some(known) => Ok(known),
            unknown => Ok(unknown.insert(interface::all()?)),
        }
    }
}

/// Every pinned link, in the order of the interfaces' names; empty when nothing is attached.
///
/// # Errors
///
/// [`DataplaneError::OtherLayout`], [`DataplaneError::NoRights`], [`DataplaneError::System`].
pub fn attached(pins: &Pins) -> Result<Vec<AttachedLink>, DataplaneError> {
    match pins.live()? {
        Some(live) => Ok(pinned(&live)?.into_iter().map(|pinned| pinned.link).collect()),
        None => Ok(Vec::new()),
    }
}

/// The names of the interfaces on which a program of another layout runs.
///
/// # Errors
///
/// [`DataplaneError::NoRights`], [`DataplaneError::System`].
pub fn attached_by_others(pins: &Pins) -> Result<Vec<String>, DataplaneError> {
    let mut names = Vec::new();
    for set in pins.other_layouts()? {
        let links = pinned(&set)?.into_iter().map(|pinned| pinned.link);
        names.extend(links.filter(|link| link.running.is_some()).map(|link| link.interface));
    }
    Ok(names)
}

/// The programs that other layouts have pinned links of.
pub(super) fn programs_of_others(pins: &Pins) -> Result<Vec<u32>, DataplaneError> {
    let mut programs = Vec::new();
    for set in pins.other_layouts()? {
        programs.extend(pinned(&set)?.into_iter().map(|link| link.state.program));
    }
    Ok(programs)
}

/// The state of the interfaces that the program runs on, by their indices.
///
/// # Errors
///
/// As [`attached`].
pub fn outlooks(pins: &Pins, network: &mut InterfaceCache) -> Result<BTreeMap<u32, Outlook>, DataplaneError> {
    match pins.live()? {
        Some(live) => of_links(&live, network),
        None => Ok(BTreeMap::new()),
    }
}

pub(super) fn of_links(
    live: &PinSet,
    network: &mut InterfaceCache,
) -> Result<BTreeMap<u32, Outlook>, DataplaneError> {
    let mut found = BTreeMap::new();
    for Pinned { link, facts, .. } in pinned(live)? {
        if let (Some(running), Some(facts)) = (link.running, facts) {
            found.insert(running.index, fallback_reason::look(&facts, running.mode, || network.all())?);
        }
    }
    Ok(found)
}

/// Whether the program can answer on one interface at least; where it runs on none, nothing keeps
/// it from that.
#[must_use]
pub fn can_answer(outlooks: &BTreeMap<u32, Outlook>) -> bool {
    outlooks.is_empty() || outlooks.values().any(|outlook| outlook.fallback_reason.is_none())
}

/// A pin and what it leads to.
#[derive(Debug)]
pub(super) struct Pinned {
    pub(super) file: LinkFile,
    pub(super) state: LinkState,
    pub(super) link: AttachedLink,
    /// The interface, if it is here.
    facts: Option<LinkFacts>,
}

pub(super) fn pinned(set: &PinSet) -> Result<Vec<Pinned>, DataplaneError> {
    let program = object::pinned_program(&set.program())?;
    let mut found = Vec::new();
    for file in set.link_files()? {
        // a pin that went away between the list and the look is none
        let Some((state, facts)) = look(&file)? else {
            continue;
        };
        let running = facts.as_ref().and_then(|facts| {
            facts.running.map(|running| AttachedAt { index: facts.index, mode: running.mode })
        });
        let lost = match (running, state.index) {
            (Some(_), _) => None,
            (None, Some(_)) => Some(Lost::Elsewhere),
            (None, None) => Some(Lost::Detached),
        };
        let link = AttachedLink {
            interface: facts.as_ref().map_or_else(|| file.interface.clone(), |facts| facts.name.clone()),
            running,
            lost,
            recorded: file.interface.clone(),
            link: state.id,
            program: state.program,
            tag: program.filter(|(id, _)| *id == state.program).map(|(_, tag)| tag),
        };
        found.push(Pinned { file, state, link, facts });
    }
    found.sort_by(|one, other| {
        (&one.link.interface, one.link.link).cmp(&(&other.link.interface, other.link.link))
    });
    Ok(found)
}

/// The state of a link and its interface, if it is here and runs the link's program; nothing if the
/// pin is gone. A program that is replaced between the two looks is looked at again: the link
/// would seem to have lost its interface.
fn look(file: &LinkFile) -> Result<Option<(LinkState, Option<LinkFacts>)>, DataplaneError> {
    let mut here: Option<LinkFacts> = None;
    for repeats in (0..LOOKS).rev() {
        let Some(state) = pinned_link::read(&file.path)? else {
            break;
        };
        let is_running = |facts: &LinkFacts| facts.running.is_some_and(|at| at.program == state.program);
        if !here.as_ref().is_some_and(is_running) {
            here = state.index.map(interface::indexed).transpose()?.flatten();
        }
        match here {
            Some(facts) if is_running(&facts) => return Ok(Some((state, Some(facts)))),
            // or another network namespace has an interface of the same index
            Some(_) if repeats > 0 => thread::sleep(END_CHECK_EVERY),
            _ => return Ok(Some((state, None))),
        }
    }
    Ok(None)
}

/// Takes the program off the interfaces, or off all when none is named; with the last link all maps
/// go, too. An interface is named by any name that it has now, or, where it is not here, by the one
/// that it had. The names of those it was taken off, sorted.
///
/// # Errors
///
/// [`DataplaneError::NotAttached`] for a named interface without a link: then nothing is changed;
/// [`DataplaneError::StillRunning`] when another process holds a link on to its interface.
pub fn detach(pins: &Pins, interfaces: &[String]) -> Result<Vec<String>, DataplaneError> {
    let live = pins.live()?;
    let links = live.as_ref().map(pinned).transpose()?.unwrap_or_default();
    let is_called = |pinned: &Pinned, name: &String| match &pinned.facts {
        Some(facts) => facts.is_called(name),
        None => pinned.link.interface == *name,
    };
    if let Some(unknown) = interfaces.iter().find(|name| !links.iter().any(|link| is_called(link, name))) {
        return Err(DataplaneError::NotAttached { interface: unknown.clone() });
    }
    let (going, staying): (Vec<_>, Vec<_>) = links
        .into_iter()
        .partition(|link| interfaces.is_empty() || interfaces.iter().any(|name| is_called(link, name)));
    if let Some(live) = live {
        if staying.is_empty() {
            pins.retire(&live)?;
        } else {
            going.iter().try_for_each(|link| release(&link.file.path))?;
        }
        going.iter().try_for_each(await_end)?;
    }
    Ok(going.into_iter().map(|link| link.link.interface).collect())
}

/// The first map of the set in use whose pin is missing; nothing where all are there, or no set is.
///
/// # Errors
///
/// As [`attached`].
pub fn missing_map(pins: &Pins) -> Result<Option<&'static str>, DataplaneError> {
    let live = match pins.live() {
        // those of another version have maps of their own
        Err(DataplaneError::OtherLayout { .. }) => return Ok(None),
        live => live?,
    };
    let Some(live) = live else { return Ok(None) };
    for name in names::ALL {
        // another shape is told by what opens the map
        if let Err(DataplaneError::PinMissing { .. }) = layout::examine(&live, name) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Removes the pins of other layouts and so detaches their programs; from which interfaces. Nothing
/// if there are no such pins.
///
/// # Errors
///
/// [`DataplaneError::NoRights`], [`DataplaneError::System`]; [`DataplaneError::StillRunning`] as
/// for [`detach`].
pub fn detach_others(pins: &Pins) -> Result<Option<Vec<String>>, DataplaneError> {
    if pins.other_layouts()?.is_empty() { Ok(None) } else { remove_others(pins).map(Some) }
}

pub(super) fn remove_others(pins: &Pins) -> Result<Vec<String>, DataplaneError> {
    let mut names = Vec::new();
    for set in pins.other_layouts()? {
        let links = pinned(&set)?;
        set.remove()?;
        links.iter().try_for_each(await_end)?;
        names.extend(links.into_iter().map(|link| link.link.interface));
    }
    Ok(names)
}

/// Takes away the pin of one link; nothing if there is none of that id.
///
/// # Errors
///
/// As [`attached`].
pub fn forget_link(pins: &Pins, id: u32) -> Result<(), DataplaneError> {
    let links = pins.live()?.as_ref().map(pinned).transpose()?.unwrap_or_default();
    let gone = links.iter().filter(|link| link.state.id == id);
    gone.into_iter().try_for_each(|link| release(&link.file.path))
}

/// Waits until the program no longer runs on the interface, so that another one can be attached:
/// the kernel may finish after the pin is gone.
pub(super) fn await_end(link: &Pinned) -> Result<(), DataplaneError> {
    let Some(at) = link.link.running else {
        return Ok(());
    };
    for _ in 0..END_CHECKS {
        let running = interface::indexed(at.index)?.and_then(|facts| facts.running);
        if running.is_none_or(|running| running.program != link.state.program) {
            return Ok(());
        }
        thread::sleep(END_CHECK_EVERY);
    }
    Err(DataplaneError::StillRunning { interface: link.link.interface.clone() })
}

/// How often, and after what pause, the end of a program is checked: for one second in all.
const END_CHECKS: u32 = 500;
/// Looks at a link whose interface seems to run another program.
const LOOKS: usize = 5;
const END_CHECK_EVERY: Duration = Duration::from_millis(2);
