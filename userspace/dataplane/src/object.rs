//! The embedded objects of the XDP program: sizes, loading, and the tag by which programs are
//! compared.
//!
//! It pins and attaches nothing by itself.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Instant,
};

use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    programs::{ProgramError, ProgramInfo, Xdp},
};
use nix::sys::utsname::uname;
use sixgate_common::{
    names,
    trace::{self, TraceFilter},
};
use tracing::debug;

use super::{error::DataplaneError, fallback_reason::FallbackReason};

/// Bounds of the maps whose size is a setting, in entries. They matter when the maps are made;
/// existing maps keep theirs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sizes {
    /// Prefixes in OPTIN.
    pub optin: u32,
    /// Prefixes in GUARD.
    pub guard: u32,
    /// Prefixes in TRUST.
    pub trust: u32,
    /// Addresses in PTR.
    pub ptr: u32,
    /// Connections in FLOWS.
    pub flows: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self {
            optin: names::OPTIN_ENTRIES,
            guard: names::GUARD_ENTRIES,
            trust: names::TRUST_ENTRIES,
            ptr: names::PTR_ENTRIES,
            flows: names::FLOWS_ENTRIES,
        }
    }
}

/// The kernel's digest of a program's instructions: equal tags, equal programs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProgramTag(pub(super) u64);

impl fmt::Display for ProgramTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// The XDP program's object (ELF, `bpfel`), as `build.rs` built it; empty in a build without it.
#[must_use]
pub const fn embedded_object() -> &'static [u8] {
    OBJECT
}

/// The embedded program as this kernel takes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Embedded {
    /// To compare with that of a running program.
    pub tag: ProgramTag,
    /// Why it cannot answer refused senders by itself, if so.
    pub fallback_reason: Option<FallbackReason>,
}

/// The traced program's object, likewise.
#[must_use]
pub const fn embedded_traced_object() -> &'static [u8] {
    TRACED_OBJECT
}

/// The embedded object with its maps made and its program in the kernel.
pub(super) struct Object {
    object: Ebpf,
    /// Why the program cannot answer refused senders by itself, if so.
    pub(super) fallback_reason: Option<FallbackReason>,
}

impl Object {
    /// Makes the maps and loads the program: whole, or without what answers if the kernel lacks
    /// what that needs. A map for which `pin` gives a file is taken from there, or pinned there.
    pub(super) fn load(sizes: &Sizes, pin: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, DataplaneError> {
        match load(sizes, &pin, &ANSWERING) {
            Ok(object) => Ok(Self { object, fallback_reason: None }),
            Err(DataplaneError::KernelLacks { what, .. }) => {
                let object = load(sizes, &pin, &TAGGING)?;
                Ok(Self { object, fallback_reason: Some(FallbackReason::Kernel { refusal: what }) })
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Self::load`], where what answers is known not to load.
    pub(super) fn load_without_answers(
        sizes: &Sizes,
        pin: impl Fn(&str) -> Option<PathBuf>,
        fallback_reason: FallbackReason,
    ) -> Result<Self, DataplaneError> {
        Ok(Self { object: load(sizes, &pin, &TAGGING)?, fallback_reason: Some(fallback_reason) })
    }

    /// The XDP program in the object.
    pub(super) fn program(&mut self) -> Result<&mut Xdp, DataplaneError> {
        program(&mut self.object)
    }
}

/// Loads the traced program with the pinned maps of `pin`; what it logs goes to a ring buffer of
/// its own. `answers`: whether the ordinary program can answer refused senders by itself.
pub(super) fn load_traced(
    pin: impl Fn(&str) -> Option<PathBuf>,
    answers: bool,
    filter: &TraceFilter,
) -> Result<Ebpf, DataplaneError> {
    let mut loader = EbpfLoader::new();
    loader.override_global(trace::FILTER, filter, true);
    loader.map_max_entries(LOG_MAP, LOG_OCTETS);
    load_object(loader, TRACED_OBJECT, &pin, if answers { &ANSWERING } else { &TAGGING })
}

fn load(
    sizes: &Sizes,
    pin: &impl Fn(&str) -> Option<PathBuf>,
    answers: &'static u32,
) -> Result<Ebpf, DataplaneError> {
    let mut loader = EbpfLoader::new();
    for (name, entries) in [
        (names::OPTIN, sizes.optin),
        (names::GUARD, sizes.guard),
        (names::TRUST, sizes.trust),
        (names::PTR, sizes.ptr),
        (names::FLOWS, sizes.flows),
    ] {
        loader.map_max_entries(name, entries);
    }
    load_object(loader, OBJECT, pin, answers)
}

fn load_object(
    mut loader: EbpfLoader<'_>,
    object: &[u8],
    pin: &impl Fn(&str) -> Option<PathBuf>,
    answers: &'static u32,
) -> Result<Ebpf, DataplaneError> {
    if object.is_empty() {
        return Err(DataplaneError::NoProgram);
    }
    for name in names::ALL {
        if let Some(file) = pin(name) {
            loader.map_pin_path(name, file);
        }
    }
    loader.override_global(ANSWERS, answers, true);
    loader.override_global(PREEMPTIBLE, if is_preemptible() { &1_u32 } else { &0_u32 }, true);
    let mut object = loader.load(object).map_err(DataplaneError::load)?;
    verify(program(&mut object)?)?;
    Ok(object)
}

/// Hands the program to the kernel's verifier, and reports what it made of it.
fn verify(program: &mut Xdp) -> Result<(), DataplaneError> {
    let begun = Instant::now();
    let loaded = program.load();
    let seconds = begun.elapsed().as_secs_f64();
    match loaded {
        Ok(()) => {
            let instructions = program.info().ok().and_then(|info| info.verified_instruction_count());
            // the kernel tells since Linux 5.16
            let instructions =
                instructions.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
            debug!(
                "the verifier accepted the XDP program: {instructions} instructions processed in {seconds:.2} s"
            );
            Ok(())
        }
        Err(error) => {
            if let ProgramError::LoadError { verifier_log, .. } = &error {
                debug!("the verifier refused the XDP program after {seconds:.2} s");
                let log = verifier_log.to_string();
                let skipped = log.lines().count().saturating_sub(LOG_TAIL);
                log.lines().skip(skipped).for_each(|line| tracing::trace!("verifier: {line}"));
            }
            Err(DataplaneError::program(error))
        }
    }
}

pub(super) fn program(object: &mut Ebpf) -> Result<&mut Xdp, DataplaneError> {
    let damaged = |reason: &str| DataplaneError::Damaged { reason: reason.to_owned() };
    object
        .program_mut(names::PROGRAM)
        .ok_or_else(|| damaged("it holds no program of the right name"))?
        .try_into()
        .map_err(|_| damaged("its program is not an XDP program"))
}

/// Whether the kernel is built with PREEMPT_RT: its version tells (init/Makefile, UTS_VERSION), or
/// sysfs, where distributions changed the version's text. A kernel that does not tell counts as one
/// that is.
fn is_preemptible() -> bool {
    uname().map_or(true, |names| names.version().to_string_lossy().contains("PREEMPT_RT"))
        || fs::read_to_string(REALTIME).is_ok_and(|text| text.trim() == "1")
}

pub(super) fn tag(program: &Xdp) -> Result<ProgramTag, DataplaneError> {
    let info = program.info().map_err(|error| DataplaneError::aya("examine the XDP program", error))?;
    Ok(ProgramTag(info.tag()))
}

/// The id and the tag of the program pinned at `file`, if there is one.
pub(super) fn pinned_program(file: &Path) -> Result<Option<(u32, ProgramTag)>, DataplaneError> {
    if !file.exists() {
        return Ok(None);
    }
    let info = ProgramInfo::from_pin(file)
        .map_err(|error| DataplaneError::aya(format!("examine {}", file.display()), error))?;
    Ok(Some((info.id(), ProgramTag(info.tag()))))
}

/// The traced program's ring buffer, which aya-log reads, and its size: a second's records of one
/// CPU, each of which takes 256 octets, and of another one's.
const LOG_MAP: &str = "AYA_LOGS";
const LOG_OCTETS: u32 = 1 << 19;
/// Lines of the verifier's log that are shown: the last ones, which have the refusal.
const LOG_TAIL: usize = 60;
/// For a look at the program alone.
pub(super) const SMALLEST: Sizes = Sizes { optin: 1, guard: 1, trust: 1, ptr: 1, flows: 1 };
/// The program's constant for whether it can answer; the verifier leaves out the code that it
/// excludes.
const ANSWERS: &str = "ANSWERS";
/// The program's constant for whether another program can interrupt it on its CPU.
const PREEMPTIBLE: &str = "PREEMPTIBLE";
/// Holds 1 on a kernel with PREEMPT_RT, on those that have the file.
const REALTIME: &str = "/sys/kernel/realtime";
static ANSWERING: u32 = 1;
static TAGGING: u32 = 0;

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sixgate.bpf.o"));
static TRACED_OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sixgate_trace.bpf.o"));
