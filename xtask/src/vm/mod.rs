//! `vm`: the XDP program and the daemon under other kernels and behind other cards, in virtual
//! machines.
//!
//! It builds, packs, boots and judges the guest's report; what is tried there is the business of
//! the guest program, `tests/src/bin/vm-guest.rs`. Processors are emulated, 10 to 20 times slower
//! than real ones: for behavior, never for times.

mod boot;
mod initramfs;
mod report;

use std::{
    fmt,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    exec,
    setup::{
        self, Set,
        kernels::{self, Kernel, Series},
    },
};
use boot::Machine;
use initramfs::Program;
use report::MachineReport;

/// Options of `vm`.
#[derive(Args)]
pub(crate) struct VmOptions {
    /// A series of Debian's kernels, such as 6.1, or 6.1-rt with PREEMPT_RT; may be given several
    /// times
    #[arg(long, value_name = "SERIES", default_values = SERIES)]
    kernel: Vec<Series>,
    /// The model of the machine's cards; may be given several times
    #[arg(long, value_enum, default_value = "virtio")]
    card: Vec<Card>,
    /// Suites to run; may be given several times
    #[arg(long, value_enum, default_value = "smoke")]
    suite: Vec<Choice>,
    /// Only the tests of the suites `dialogs` and `xdp`, and the joined networks, whose name
    /// contains this
    #[arg(long, value_name = "TEXT", value_parser = plain)]
    filter: Option<String>,
}

/// A parameter that the kernel's command line carries as it is.
fn plain(text: &str) -> Result<String, String> {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'_' | b':');
    if !text.is_empty() && text.bytes().all(is_plain) {
        Ok(text.to_owned())
    } else {
        Err("letters, digits, `_` and `:` only".to_owned())
    }
}

impl VmOptions {
    /// `suites` on each kernel that sixgate is made for.
    pub(crate) fn on_all_kernels(suites: &[Suite]) -> Self {
        let series = SERIES.iter().filter_map(|series| series.parse().ok());
        let suite = suites.iter().copied().map(Choice::Suite).collect();
        Self { kernel: series.collect(), card: vec![Card::Virtio], suite, filter: None }
    }

    fn suites(&self) -> Vec<Suite> {
        let mut suites: Vec<Suite> = self
            .suite
            .iter()
            .flat_map(|choice| match choice {
                Choice::All => Suite::ALL.to_vec(),
                Choice::Suite(suite) => vec![*suite],
            })
            .collect();
        suites.sort();
        suites.dedup();
        suites
    }
}

/// The suites of a machine, in this order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Suite {
    /// Load, attach, a refused session and one that is served, on each kind of link.
    Smoke,
    /// VLANs, bridges, bonds, tunnels, changes of interfaces.
    Networks,
    /// Every dialogue whose sessions are all refused, over the cards; then the suite of that name.
    Dialogs,
    /// The suite of that name.
    Xdp,
}

impl Suite {
    const ALL: [Self; 4] = [Self::Smoke, Self::Networks, Self::Dialogs, Self::Xdp];

    /// How long it may take, emulated and with another machine beside.
    fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Smoke => 5 * 60,
            Self::Networks => 20 * 60,
            Self::Dialogs => 40 * 60,
            Self::Xdp => 60 * 60,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Smoke => "smoke",
            Self::Networks => "networks",
            Self::Dialogs => "dialogs",
            Self::Xdp => "xdp",
        }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A suite, or all of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Choice {
    All,
    Suite(Suite),
}

impl ValueEnum for Choice {
    fn value_variants<'a>() -> &'a [Self] {
        const {
            &[
                Self::Suite(Suite::Smoke),
                Self::Suite(Suite::Networks),
                Self::Suite(Suite::Dialogs),
                Self::Suite(Suite::Xdp),
                Self::All,
            ]
        }
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(match self {
            Self::All => "all",
            Self::Suite(suite) => suite.name(),
        }))
    }
}

/// The model of a machine's network cards.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Card {
    /// virtio-net, of KVM and most clouds
    Virtio,
    /// vmxnet3, of VMware
    Vmxnet3,
    /// e1000e, of Intel's, whose driver has no native XDP
    E1000e,
}

impl Card {
    /// As QEMU calls it.
    fn device(self) -> &'static str {
        match self {
            Self::Virtio => "virtio-net-pci",
            Self::Vmxnet3 => "vmxnet3",
            Self::E1000e => "e1000e",
        }
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Virtio => "virtio",
            Self::Vmxnet3 => "vmxnet3",
            Self::E1000e => "e1000e",
        })
    }
}

/// Sets up, builds, boots each kernel with each card, and prints what answered; an error unless all
/// was as it has to be.
pub(crate) fn run(options: &VmOptions) -> Result<()> {
    setup::run(Set::Vm)?;
    let kernels = kernels::kernels(&options.kernel)?;
    let suites = options.suites();
    let _alone = alone()?;
    let programs = initramfs::pack_programs(&folder(), &build(&suites)?)?;
    let mut machines = Vec::new();
    for kernel in &kernels {
        let modules = initramfs::pack_modules(&folder(), kernel)?;
        machines.extend(options.card.iter().map(|card| (kernel, modules.clone(), *card)));
    }
    // taken from the end
    machines.reverse();
    let (waiting, reports) = (Mutex::new(machines), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..MACHINES_AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().ok().and_then(|mut waiting| waiting.pop());
                    let Some((kernel, modules, card)) = next else { break };
                    let machine = (kernel, card, options.filter.as_deref());
                    let report = boot(machine, &suites, &[&programs, &modules]);
                    if let Ok(mut reports) = reports.lock() {
                        reports.push(report);
                    }
                }
            });
        }
    });
    conclude(reports.into_inner().unwrap_or_default(), kernels.len() * options.card.len())
}

/// The right to use the folder of the machines, until it is dropped; waits for another `vm` to end.
fn alone() -> Result<File> {
    let path = folder().join("lock");
    let file = File::create(&path).with_context(|| format!("cannot open {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another `cargo xtask vm` of this folder to end");
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

/// Builds what goes into a machine.
fn build(suites: &[Suite]) -> Result<Vec<Program>> {
    exec::run(&mut exec::build_binaries())?;
    let debug = exec::target().join("debug");
    let mut programs: Vec<Program> =
        ["sixgate", "vm-guest"].map(|name| Program { path: debug.join(name), name }).into();
    for name in [Suite::Dialogs, Suite::Xdp].into_iter().filter(|it| suites.contains(it)).map(Suite::name) {
        programs.push(Program { path: build_suite(name)?, name });
    }
    Ok(programs)
}

/// Builds the suite `name`, and finds it.
fn build_suite(name: &str) -> Result<PathBuf> {
    let mut build = exec::cargo_for_host("test");
    build.args(["--no-run", "--test", name]);
    exec::run(&mut build)?;
    // again, to be told its path: nothing is left to be built
    let messages = exec::output(build.args(["--message-format", "json"]))?;
    let start = format!("\"name\":\"{name}\"");
    let path = messages.lines().filter(|line| line.contains(&start)).find_map(|line| {
        line.split_once("\"executable\":\"")?.1.split_once('"').map(|(path, _)| PathBuf::from(path))
    });
    path.with_context(|| format!("cargo did not name the suite {name}"))
}

/// Boots `kernel` with two cards, and judges what the guest reports.
fn boot(
    (kernel, card, filter): (&Kernel, Card, Option<&str>),
    suites: &[Suite],
    archives: &[&Path],
) -> Result<MachineReport> {
    let title = format!("Linux {} ({}), {card}", kernel.series, kernel.release);
    let initramfs = folder().join(format!("{}-{card}.cpio", kernel.series));
    initramfs::join(archives, &initramfs)?;
    let console = folder().join(format!("{}-{card}.console", kernel.series));
    let machine = Machine { image: &kernel.image, initramfs, console, card, suites, filter };
    let ended = machine.run(&|line| eprintln!("[{} {card}] {line}", kernel.series))?;
    let report = MachineReport::read(title, card, suites, &ended, &kernel.release);
    let tail = report.is_cut_short().then(|| machine.console_tail());
    // the programs are in it: it is large
    exec::output(Command::new("rm").arg(&machine.initramfs))?;
    Ok(report.with_console(tail, &machine.console))
}

/// Prints the tables, and fails if one of them is not as it has to be.
fn conclude(reports: Vec<Result<MachineReport>>, wanted: usize) -> Result<()> {
    let mut failed = wanted.saturating_sub(reports.len());
    for report in reports {
        match report {
            Ok(report) => {
                println!("\n{report}");
                failed += usize::from(!report.is_good());
            }
            Err(error) => {
                println!("\n{error:#}");
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {wanted} virtual machines failed");
    }
    println!("\n{wanted} virtual machine(s), all as they have to be");
    Ok(())
}

fn folder() -> PathBuf {
    exec::target().join("vm")
}

/// Debian 12's, Debian 13's, and the newest that is backported to it of those that were tried.
const SERIES: [&str; 3] = ["6.1", "6.12", "7.2"];
/// A machine has two emulated processors of its own, and alternates with the other where the host
/// has fewer.
const MACHINES_AT_A_TIME: usize = 2;
