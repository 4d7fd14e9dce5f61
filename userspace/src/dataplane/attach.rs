//! Puts the program on interfaces: maps first, then links, then `ready`.
//!
//! What is pinned comes into sight as a whole, or not at all. It computes no projection: the plan holds it.

mod link;

use std::collections::BTreeMap;

use aya::programs::Xdp;
use sixgate_common::{
    map,
    refuse::ReplyId,
    reply::Reply,
    settings::{ANSWER_HINDERED, ANSWER_KERNEL, READY, Settings},
};

use super::{
    error::DataplaneError,
    interface::{Interface, RunMode},
    layout,
    maps::Maps,
    object::{self, Object, Sizes},
    obstacle,
    pins::{PinSet, Pins, remove_pin},
    projection::Projection,
    stations::{Station, StationUse},
};
use link::{attach_new, replace, report_replaced};

/// In which mode the program may run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AttachMode {
    /// Native if the driver takes it, else generic.
    #[default]
    Auto,
    /// Native or not at all.
    Native,
    /// Generic, whatever the driver can do.
    Generic,
}

/// Everything that attaching needs to know.
#[derive(Clone, Debug)]
pub struct AttachPlan {
    /// The interfaces' names.
    pub interfaces: Vec<String>,
    /// In which mode; an interface on which the program runs already keeps its mode.
    pub mode: AttachMode,
    /// Bounds of the maps, if they have to be made.
    pub sizes: Sizes,
    /// What the program is told to do; `ready` and `generation` in it do not matter. Where it is to answer by itself
    /// and cannot (see [`super::Obstacle`]), the daemon does.
    pub settings: Settings,
    /// What the maps are to hold.
    pub projection: Projection,
    /// The replies with which the program refuses.
    pub replies: Vec<(ReplyId, Reply)>,
    /// Where everything is pinned.
    pub pins: Pins,
}

/// What was done on one interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attached {
    /// The interface's name.
    pub interface: String,
    /// In which mode the program runs.
    pub mode: RunMode,
    /// Why not natively, in a word, when [`AttachMode::Auto`] had to fall back.
    pub fallback: Option<String>,
    /// Whether a program ran there before.
    pub change: Change,
    /// What became of VLAN tags.
    pub tags: VlanTags,
}

/// What was done about an interface that strips VLAN tags, so that the program's answers go the way back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VlanTags {
    /// Nothing.
    Untouched,
    /// They were stripped, and no longer are.
    Kept,
}

/// What became of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// The program is new there.
    New,
    /// It took the place of a differing sixgate program, without a gap.
    Replaced,
    /// The very same program ran there already.
    Unchanged,
}

/// Fills the maps, puts the program on the plan's interfaces, and lets it refuse. Where sixgate runs already,
/// the maps are kept and brought in line, and every interface gets this build's program without a gap. If it
/// fails, no interface is new; if it fails before the maps agree with the projection, the program refuses nothing.
///
/// # Errors
///
/// Each kind of [`DataplaneError`]; nothing is touched on [`DataplaneError::NoBpffs`],
/// [`DataplaneError::NoInterface`], [`DataplaneError::NoProgram`], [`DataplaneError::KernelLacks`],
/// [`DataplaneError::LayoutDiffers`] and [`DataplaneError::OtherLayout`].
pub fn attach(plan: &AttachPlan) -> Result<Vec<Attached>, DataplaneError> {
    let mut interfaces: Vec<Interface> = Vec::new();
    for name in &plan.interfaces {
        let interface = Interface::named(name)?;
        if interfaces.iter().all(|known| known.index != interface.index) {
            interfaces.push(interface);
        }
    }
    plan.pins.prepare()?;
    match plan.pins.live()? {
        Some(live) => attach_to_live(plan, &interfaces, &live),
        None => attach_first(plan, &interfaces),
    }
}

/// Makes everything aside; it comes into sight at once, and only then may the program refuse.
fn attach_first(plan: &AttachPlan, interfaces: &[Interface]) -> Result<Vec<Attached>, DataplaneError> {
    let staged = plan.pins.stage()?;
    match fill_staged(plan, interfaces, &staged) {
        Ok((attached, speech)) => {
            let live = plan.pins.publish(staged)?;
            put_in_force(&mut Maps::open_set(&live)?, plan, speech, &live)?;
            Ok(attached)
        }
        Err(error) => {
            // The first error is the one to tell; what stays behind is removed at the next attach.
            let _ = staged.remove();
            Err(error)
        }
    }
}

fn fill_staged(
    plan: &AttachPlan,
    interfaces: &[Interface],
    staged: &PinSet,
) -> Result<(Vec<Attached>, Speech), DataplaneError> {
    let mut object = Object::load(&plan.sizes, |name| Some(staged.map(name)))?;
    let speech = Speech::of(plan, &object);
    let program = object.program()?;
    let file = staged.program();
    program.pin(&file).map_err(|error| DataplaneError::aya(format!("pin {}", file.display()), error))?;
    let mut maps = Maps::open_set(staged)?;
    fill(&mut maps, plan)?;
    maps.set_stations(&stations(interfaces)?)?;
    let attached = interfaces
        .iter()
        .map(|interface| attach_new(program, interface, (plan.mode, speech), staged))
        .collect::<Result<_, _>>()?;
    Ok((attached, speech))
}

/// Brings the maps in line, hands every pinned link this build's program, then adds the interfaces that are new.
fn attach_to_live(
    plan: &AttachPlan,
    interfaces: &[Interface],
    live: &PinSet,
) -> Result<Vec<Attached>, DataplaneError> {
    for name in map::ALL {
        layout::examine(live, name)?;
    }
    let mut object = Object::load(&plan.sizes, |name| Some(live.map(name)))?;
    let speech = Speech::of(plan, &object);
    let program = object.program()?;
    let ours = object::tag(program)?;
    let change = if object::pinned_program(&live.program())?.is_some_and(|(_, tag)| tag == ours) {
        Change::Unchanged
    } else {
        Change::Replaced
    };
    let mut maps = Maps::open_set(live)?;
    // What refuses goes on refusing meanwhile: entries come before others go.
    fill(&mut maps, plan).inspect_err(|_| {
        // The first error is the one to tell.
        let _ = maps.clear_ready();
    })?;
    let mut stations = maps.stations()?;
    stations.extend(self::stations(interfaces)?);
    maps.set_stations(&stations)?;
    let attached = hand_over(program, interfaces, (plan.mode, speech), live, change);
    // The maps agree with the projection, whatever became of the interfaces.
    put_in_force(&mut maps, plan, speech, live)?;
    attached
}

/// Gives the program to every pinned link, then to the interfaces that are new: to all of them or to none.
fn hand_over(
    program: &mut Xdp,
    interfaces: &[Interface],
    manner: (AttachMode, Speech),
    live: &PinSet,
    change: Change,
) -> Result<Vec<Attached>, DataplaneError> {
    let mut replaced = Vec::new();
    for name in live.interfaces()? {
        if replace(program, &name, live)? {
            replaced.push(name);
        }
    }
    repin(program, live)?;
    let attached = interfaces
        .iter()
        .map(|interface| {
            if replaced.contains(&interface.name) {
                report_replaced(interface, manner, change)
            } else {
                attach_new(program, interface, manner, live)
            }
        })
        .collect();
    if Result::is_err(&attached) {
        remove_new(interfaces, &replaced, live);
    }
    attached
}

/// The interfaces' own Ethernet addresses.
fn stations(interfaces: &[Interface]) -> Result<BTreeMap<Station, StationUse>, DataplaneError> {
    let mut stations = BTreeMap::new();
    for interface in interfaces {
        if let Some(mac) = interface.mac()? {
            let what = StationUse { answers: true, generic: false, peer: None };
            stations.insert(Station { ifindex: interface.index, mac }, what);
        }
    }
    Ok(stations)
}

/// REPLIES, then the prefixes, which are read back and compared.
fn fill(maps: &mut Maps, plan: &AttachPlan) -> Result<(), DataplaneError> {
    maps.write_replies(&plan.replies)?;
    maps.project(&plan.projection)?;
    match maps.difference(&plan.projection)?.len() {
        0 => Ok(()),
        differences => Err(DataplaneError::NotProjected { differences }),
    }
}

/// The plan's SETTINGS, with `ready`: the maps were read back.
fn put_in_force(
    maps: &mut Maps,
    plan: &AttachPlan,
    speech: Speech,
    live: &PinSet,
) -> Result<(), DataplaneError> {
    let generation = maps.settings()?.generation;
    let answer = match speech {
        Speech::Daemon => plan.settings.answer,
        Speech::Program if obstacle::of_links(live)?.is_empty() => ANSWER_KERNEL,
        Speech::Program | Speech::Hindered => ANSWER_HINDERED,
    };
    maps.write_settings(&Settings { answer, ready: READY, generation, ..plan.settings })
}

/// Who is to answer refused senders, as far as it is known before the program runs anywhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Speech {
    /// The daemon, as it should.
    Daemon,
    /// The program, as it should.
    Program,
    /// The daemon, since the program cannot.
    Hindered,
}

impl Speech {
    fn of(plan: &AttachPlan, object: &Object) -> Self {
        match (plan.settings.answer, &object.obstacle) {
            (ANSWER_KERNEL, None) => Self::Program,
            (ANSWER_KERNEL, Some(_)) => Self::Hindered,
            _ => Self::Daemon,
        }
    }
}

/// The pinned program becomes this one, at once.
fn repin(program: &mut Xdp, live: &PinSet) -> Result<(), DataplaneError> {
    let (next, file) = (live.next_program(), live.program());
    remove_pin(&next)?;
    program.pin(&next).map_err(|error| DataplaneError::aya(format!("pin {}", next.display()), error))?;
    std::fs::rename(&next, &file).map_err(|error| DataplaneError::file("rename", &next, error))
}

/// Takes back what this call attached before it failed.
fn remove_new(interfaces: &[Interface], replaced: &[String], live: &PinSet) {
    for interface in interfaces {
        if !replaced.contains(&interface.name) {
            // The error that led here is the one to tell.
            let _ = live.release(&interface.name);
        }
    }
}
