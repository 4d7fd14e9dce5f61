//! What is attached now, and its removal.
//!
//! It works from the pins alone, with or without the daemon that made them.

use std::{thread, time::Duration};

use aya::programs::links::{FdLink, PinnedLink};

use super::{
    error::DataplaneError,
    interface::{Interface, RunMode},
    object::{self, ProgramTag},
    pins::{PinSet, Pins},
};

/// One pinned link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttachedLink {
    /// The interface's name when it was attached.
    pub interface: String,
    /// Where the program runs; nothing when no interface of that name holds it: it is gone, renamed, or in
    /// another network namespace.
    pub running: Option<AttachedAt>,
    /// The kernel's id of the program.
    pub program: u32,
    /// The program's tag; nothing when the link holds another program than the pinned one (an attach was
    /// interrupted; the next one repairs).
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

/// Every pinned link, in the order of the interfaces' names; empty when nothing is attached.
///
/// # Errors
///
/// [`DataplaneError::NoRights`], [`DataplaneError::System`].
pub fn attached(pins: &Pins) -> Result<Vec<AttachedLink>, DataplaneError> {
    let Some(live) = pins.live()? else {
        return Ok(Vec::new());
    };
    let pinned = object::pinned_program(&live.program())?;
    live.interfaces()?
        .into_iter()
        .map(|interface| {
            let program = program_of(&live, &interface)?;
            Ok(AttachedLink {
                running: running(&interface, program)?,
                tag: pinned.filter(|(id, _)| *id == program).map(|(_, tag)| tag),
                interface,
                program,
            })
        })
        .collect()
}

/// Takes the program off the interfaces, or off all when none is named; with the last link all maps go, too.
/// The names of those it was taken off, sorted.
///
/// # Errors
///
/// [`DataplaneError::NotAttached`] for a named interface without a link: then nothing is changed;
/// [`DataplaneError::StillRunning`] when another process holds a link on to its interface.
pub fn detach(pins: &Pins, interfaces: &[String]) -> Result<Vec<String>, DataplaneError> {
    let live = pins.live()?;
    let pinned = match &live {
        Some(live) => live.interfaces()?,
        None => Vec::new(),
    };
    if let Some(unknown) = interfaces.iter().find(|name| !pinned.contains(name)) {
        return Err(DataplaneError::NotAttached { interface: unknown.clone() });
    }
    let (going, staying): (Vec<_>, Vec<_>) =
        pinned.into_iter().partition(|name| interfaces.is_empty() || interfaces.contains(name));
    if let Some(live) = live {
        let programs =
            going.iter().map(|interface| program_of(&live, interface)).collect::<Result<Vec<_>, _>>()?;
        if staying.is_empty() {
            pins.retire(&live)?;
        } else {
            for interface in &going {
                live.release(interface)?;
            }
        }
        for (interface, program) in going.iter().zip(programs) {
            await_end(interface, program)?;
        }
    }
    Ok(going)
}

/// Waits until the program no longer runs on the interface, so that another one can be attached: the kernel may
/// finish after the pin is gone.
fn await_end(interface: &str, program: u32) -> Result<(), DataplaneError> {
    for _ in 0..END_CHECKS {
        if running(interface, program)?.is_none() {
            return Ok(());
        }
        thread::sleep(END_CHECK_EVERY);
    }
    Err(DataplaneError::StillRunning { interface: interface.to_owned() })
}

fn program_of(live: &PinSet, interface: &str) -> Result<u32, DataplaneError> {
    PinnedLink::from_pin(live.link(interface))
        .and_then(|link| FdLink::from(link).info())
        .map(|info| info.program_id())
        .map_err(|error| DataplaneError::aya(format!("examine the link of {interface}"), error))
}

fn running(name: &str, program: u32) -> Result<Option<AttachedAt>, DataplaneError> {
    let interface = match Interface::named(name) {
        Err(DataplaneError::NoInterface { .. }) => return Ok(None),
        found => found?,
    };
    Ok(interface
        .running()?
        .filter(|running| running.program == program)
        .map(|running| AttachedAt { index: interface.index, mode: running.mode }))
}

/// How often, and after what pause, the end of a program is checked: for one second in all.
const END_CHECKS: u32 = 500;
const END_CHECK_EVERY: Duration = Duration::from_millis(2);
