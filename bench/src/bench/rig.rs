//! The XDP program under test on the rig: BPF_PROG_TEST_RUN, once or many times, its frame put back
//! between runs.
//!
//! The program shares the maps that `sixgate attach` filled and pinned. The meaning of the frames
//! is the caller's business.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRunOptions,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramInfo, TestRun as _, Xdp},
};
use aya_obj::programs::XdpAttachType;
use nix::time::{ClockId, clock_gettime};
use sixgate_common::{
    flow::FlowKey,
    names,
    slot::{SLOTS_ENTRIES, Slot, SlotKey},
    trace::{self, TraceFilter},
};
use sixgate_dataplane::{Maps, Marks, Pins, Station, StationUse, embedded_object, embedded_traced_object};
use sixgate_tests::{
    packet,
    xdp_helper::{self, PASS},
};

mod rotated;
#[path = "../../../tests/ebpf/src/template.rs"]
mod template;

use template::{DESTINATIONS, Origin, ROTATED_ENTRIES, Rotated, Rotation, TEMPLATE_MAX, Template};

// SAFETY: `repr(C)`, integers and a byte array, no padding (size asserted): every bit pattern is
// valid.
unsafe impl aya::Pod for Template {}
// SAFETY: likewise.
unsafe impl aya::Pod for Rotation {}
// SAFETY: likewise.
unsafe impl aya::Pod for Rotated {}

/// The action that lets a frame go on to the host (linux/bpf.h).
pub(super) const XDP_PASS: u32 = 2;
/// The action that sends a frame back to where it came from (linux/bpf.h).
pub(super) const XDP_TX: u32 = 3;

/// The program that is run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Subject {
    /// The program that passes everything on.
    Empty,
    /// The program under test.
    Tested,
    /// The program that the interfaces run, from its pin.
    Attached,
    /// The program of `sixgate trace`, whose prefixes hold no address.
    TracedOthers,
    /// The same, and its prefixes hold each address.
    TracedAll,
}

/// What became of a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Outcome {
    pub(super) action: u32,
    pub(super) frame: Vec<u8>,
}

/// The state that is restored before each run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) frame: &'a [u8],
    pub(super) key: FlowKey,
    /// The first slot that the connection may have.
    pub(super) slot: Slot,
}

/// Programs and maps, ready to run.
pub(super) struct Rig {
    programs: Programs,
    template: Array<MapData, Template>,
    slot: Array<MapData, Slot>,
    slot_key: SlotKey,
    addresses: Array<MapData, [u8; 16]>,
    next: ProgramArray<MapData>,
    slots: Array<MapData, Slot>,
    rotation: Array<MapData, Rotation>,
    rotated: Array<MapData, Rotated>,
}

struct Programs {
    tested: Ebpf,
    helpers: Ebpf,
    attached: Xdp,
    /// By [`Subject::TracedOthers`] and [`Subject::TracedAll`]; none before [`Rig::load_traced`].
    traced: Option<[Ebpf; 2]>,
}

impl Programs {
    fn of(&mut self, subject: Subject) -> Result<&mut Xdp> {
        let traced = self.traced.as_mut().context("the traced program is not loaded");
        match subject {
            Subject::Empty => loaded(&mut self.helpers, PASS),
            Subject::Tested => loaded(&mut self.tested, names::PROGRAM),
            Subject::Attached => Ok(&mut self.attached),
            Subject::TracedOthers => loaded(&mut traced?[0], names::PROGRAM),
            Subject::TracedAll => loaded(&mut traced?[1], names::PROGRAM),
        }
    }
}

impl Rig {
    /// The embedded program with the maps of `pins`, where the same program has to be attached.
    pub(super) fn open(pins: &Pins) -> Result<Self> {
        let directory = pins.directory();
        let mut tested = with_maps_of(pins).load(embedded_object()).context("cannot load the XDP program")?;
        let program = xdp_helper::program(&mut tested, names::PROGRAM)?;
        let attached = ProgramInfo::from_pin(directory.join("program")).context("nothing is attached")?;
        ensure!(program.info()?.tag() == attached.tag(), "another program than ours is attached");
        // BPF_PROG_TEST_RUN has frames arrive at the loopback interface, not at the one that is
        // attached
        let stations = BTreeMap::from([(STATION, NATIVE)]);
        Maps::open(pins)?.context("nothing is attached")?.set_stations(&stations)?;
        let mut loader = xdp_helper::loader();
        for name in [names::SLOTS, names::NOTES] {
            loader.map_max_entries(name, SLOTS_ENTRIES).map_pin_path(name, directory.join(name));
        }
        loader.map_max_entries(ROTATED, ROTATED_ENTRIES as u32);
        let mut helpers = loader.load(xdp_helper::OBJECT).context("cannot load the helper programs")?;
        for name in [PASS, RESTORE, ROTATE, SCATTER] {
            xdp_helper::program(&mut helpers, name)?;
        }
        let slot_keys: Array<&MapData, SlotKey> =
            tested.map(names::SLOT_KEY).context("no map SLOT_KEY")?.try_into()?;
        let slot_key = slot_keys.get(&0, 0)?;
        let attached = Xdp::from_pin(directory.join("program"), XdpAttachType::Interface)
            .context("nothing is attached")?;
        let mut take = |name| helpers.take_map(name).with_context(|| format!("no map {name}"));
        Ok(Self {
            template: take("TEMPLATE")?.try_into()?,
            slot: take("RESTORE_SLOT")?.try_into()?,
            slot_key,
            addresses: take("ADDRESSES")?.try_into()?,
            next: take("NEXT")?.try_into()?,
            slots: take(names::SLOTS)?.try_into()?,
            rotation: take("ROTATION")?.try_into()?,
            rotated: take(ROTATED)?.try_into()?,
            programs: Programs { tested, helpers, attached, traced: None },
        })
    }

    /// Loads the traced program with the maps of `pins`, for [`Subject::TracedOthers`] and
    /// [`Subject::TracedAll`]. It writes to a ring buffer that nothing reads.
    pub(super) fn load_traced(&mut self, pins: &Pins) -> Result<()> {
        let load = |filter: &TraceFilter| {
            let mut loader = with_maps_of(pins);
            loader.override_global(trace::FILTER, filter, true);
            let mut traced =
                loader.load(embedded_traced_object()).context("cannot load the traced XDP program")?;
            xdp_helper::program(&mut traced, names::PROGRAM)?;
            anyhow::Ok(traced)
        };
        self.programs.traced = Some([load(&TraceFilter::NOTHING)?, load(&EVERYTHING)?]);
        Ok(())
    }

    /// Octets of machine code that the kernel made of a program.
    pub(super) fn machine_code(&mut self, subject: Subject) -> Result<u32> {
        Ok(self.programs.of(subject)?.info()?.size_jitted())
    }

    /// Hands `frame` to the program under test.
    pub(super) fn once(&mut self, frame: &[u8]) -> Result<Outcome> {
        run(self.programs.of(Subject::Tested)?, frame, 1).map(|(_, outcome)| outcome)
    }

    /// The first slot that a connection may have; alone, it has that one.
    pub(super) fn slot(&self, key: &FlowKey) -> Slot {
        self.slots.get(&self.place(key), 0).unwrap_or(Slot::FREE)
    }

    fn place(&self, key: &FlowKey) -> u32 {
        let [first, _] = self.slot_key.places_of(key);
        first
    }

    /// Nanoseconds for one run of `subject` with a frame that it leaves as it is. The program under
    /// test has to pass it on.
    pub(super) fn repeat(&mut self, subject: Subject, frame: &[u8], repeat: u32) -> Result<f64> {
        let program = self.programs.of(subject)?;
        let (time, outcome) = time(program, frame, repeat)?;
        ensure!(outcome == Outcome { action: XDP_PASS, frame: frame.to_vec() }, "not passed on: {outcome:?}");
        Ok(time)
    }

    /// Nanoseconds for putting `scene` back and one run of `subject`, and what became of the last
    /// frame.
    pub(super) fn restored(
        &mut self,
        subject: Subject,
        scene: &Scene<'_>,
        repeat: u32,
    ) -> Result<(f64, Outcome)> {
        self.slot.set(0, scene.slot, 0)?;
        self.set_next(subject)?;
        let template = template(scene, self.place(&scene.key))?;
        let program = loaded(&mut self.programs.helpers, RESTORE)?;
        measure(repeat, |runs| {
            // each call has its frame somewhere else
            self.template.set(0, template, 0)?;
            run(program, scene.frame, runs)
        })
    }

    /// Nanoseconds for a run of `subject` in this scene with cold caches, by the kernel's count,
    /// which has to be on; and what became of the last frame. `caches` is as large as what is to be
    /// driven out of them.
    pub(super) fn cold(
        &mut self,
        subject: Subject,
        scene: &Scene<'_>,
        runs: u32,
        caches: &mut [u8],
    ) -> Result<(f64, Outcome)> {
        let place = self.place(&scene.key);
        let program = self.programs.of(subject)?;
        let before = program.info()?.run_time();
        let mut last = None;
        for _ in 0..runs {
            self.slots.set(place, scene.slot, 0)?;
            caches.iter_mut().step_by(CACHE_LINE).for_each(|octet| *octet = octet.wrapping_add(1));
            last = Some(run(program, scene.frame, 1)?.1);
        }
        let time = program.info()?.run_time() - before;
        let outcome = last.context("no run at all")?;
        Ok((time.as_nanos() as f64 / f64::from(runs), outcome))
    }

    /// Nanoseconds for giving `frame` the next destination and one run of `subject`, which has to
    /// pass it on.
    pub(super) fn scattered(&mut self, subject: Subject, frame: &[u8], repeat: u32) -> Result<f64> {
        self.set_next(subject)?;
        let (time, outcome) = time(loaded(&mut self.programs.helpers, SCATTER)?, frame, repeat)?;
        ensure!(outcome.action == XDP_PASS, "not passed on: action {}", outcome.action);
        Ok(time)
    }

    /// Between which destinations [`Rig::scattered`] changes.
    pub(super) fn set_destinations(&mut self, mut next: impl FnMut() -> [u8; 16]) -> Result<()> {
        for index in 0..DESTINATIONS as u32 {
            self.addresses.set(index, next(), 0)?;
        }
        Ok(())
    }

    fn set_next(&mut self, subject: Subject) -> Result<()> {
        let program = self.programs.of(subject)?;
        Ok(self.next.set(0, program.fd()?, 0)?)
    }
}

/// A loader that takes the maps of `pins`.
fn with_maps_of(pins: &Pins) -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    for name in names::ALL {
        loader.map_pin_path(name, pins.directory().join(name));
    }
    loader
}

fn template(scene: &Scene<'_>, slot: u32) -> Result<Template> {
    let length = scene.frame.len();
    ensure!(length <= TEMPLATE_MAX, "a frame of {length} octets does not fit");
    let mut frame = [0; TEMPLATE_MAX];
    frame[..length].copy_from_slice(scene.frame);
    Ok(Template { origin: Origin::default(), length: length as u32, slot, frame })
}

/// The mean time of a run in nanoseconds, and what became of the frame in the last one.
///
/// The kernel's own figure is whole nanoseconds, too coarse beside an empty program. So it is this
/// thread's CPU time for `repeat` runs, less that for a few: what a call takes however many runs it
/// makes is not part of it. Of several tries the fastest counts, since a disturbance only adds.
pub(super) fn time(program: &mut Xdp, frame: &[u8], repeat: u32) -> Result<(f64, Outcome)> {
    measure(repeat, |runs| run(program, frame, runs))
}

fn measure(repeat: u32, run: impl FnMut(u32) -> Result<(Duration, Outcome)>) -> Result<(f64, Outcome)> {
    measure_between(repeat / FEW, repeat, run)
}

/// The same with `few` runs to be subtracted.
fn measure_between(
    few: u32,
    repeat: u32,
    mut run: impl FnMut(u32) -> Result<(Duration, Outcome)>,
) -> Result<(f64, Outcome)> {
    let (mut less, mut more) = (run(few)?, run(repeat)?);
    for _ in 1..TRIES {
        less = least(less, run(few)?);
        more = least(more, run(repeat)?);
    }
    Ok(((more.0.as_nanos() as f64 - less.0.as_nanos() as f64) / f64::from(repeat - few), more.1))
}

fn least(one: (Duration, Outcome), other: (Duration, Outcome)) -> (Duration, Outcome) {
    if other.0 < one.0 { other } else { one }
}

/// This thread's CPU time for a call with `repeat` runs, and what became of the frame in the last
/// one.
fn run(program: &mut Xdp, frame: &[u8], repeat: u32) -> Result<(Duration, Outcome)> {
    let mut out = vec![0; frame.len() + GROWTH_MAX];
    let options =
        TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), repeat, ..Default::default() };
    let before = thread_time()?;
    let result = program.test_run(options).context("BPF_PROG_TEST_RUN failed")?;
    let time = thread_time()? - before;
    out.truncate(result.data_size_out as usize);
    let outcome = Outcome { action: result.return_value, frame: out };
    Ok((time, outcome))
}

/// The CPU time of this thread so far.
fn thread_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

/// A program of `object` that the kernel has already.
pub(super) fn loaded<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = object.program_mut(name).with_context(|| format!("no program {name}"))?;
    Ok(program.try_into()?)
}

/// To whom the frames are sent; the loopback interface is the first of each namespace.
const STATION: Station = Station { ifindex: 1, mac: packet::GATE_MAC };
const NATIVE: StationUse = StationUse { answers: true, marks: Marks::Unknown, peer: None };
/// Masks without a bit: each address matches.
const EVERYTHING: TraceFilter =
    TraceFilter { source: [0; 2], source_mask: [0; 2], destination: [0; 2], destination_mask: [0; 2] };
/// The few runs are this part of all.
const FEW: u32 = 50;
const TRIES: usize = 3;
const RESTORE: &str = "restore";
const ROTATE: &str = "rotate";
const ROTATED: &str = "ROTATED";
const SCATTER: &str = "scatter";
const CACHE_LINE: usize = 64;
/// By how many octets an answer may be longer than what it answers.
const GROWTH_MAX: usize = 256;
