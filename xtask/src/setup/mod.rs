//! `setup`: installs what a machine with rustup's Rust lacks, and prints what and why.
//!
//! It owns no list of its own: packages are in `debian`, the way of other distributions in
//! `rustup`, the kernels of virtual machines in `kernels`.

mod debian;
pub(crate) mod kernels;
mod rustup;

use std::{fs, process::Command};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::{dist, exec};

/// Options of `setup`.
#[derive(Args)]
pub(crate) struct SetupOptions {
    /// The work that the machine is to be fit for
    #[arg(value_enum, default_value_t = Set::Test)]
    set: Set,
}

impl SetupOptions {
    /// The set that was asked for.
    pub(crate) fn set(&self) -> Set {
        self.set
    }
}

/// The work that the machine is to be fit for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Set {
    /// Building the binary with the XDP program in it
    Build,
    /// Building, and every test
    Test,
    /// Building, and the fuzz targets
    Fuzz,
    /// Building, and virtual machines with other kernels
    Vm,
    /// Building and trying packages for this machine's processor
    Dist,
    /// The same, and packages for AArch64
    CrossDist,
}

/// One thing that is missing, and how to get it.
struct SetupStep {
    what: String,
    why: &'static str,
    needs_root: bool,
    commands: Vec<Command>,
}

/// Installs what `set` needs and the machine lacks; without the rights it prints how.
pub(crate) fn run(set: Set) -> Result<()> {
    let mut steps = if debian::is_supported() { debian::missing(set)? } else { rustup::missing(set)? };
    if set == Set::Fuzz {
        steps.extend(nightly());
        steps.extend(tool("cargo-fuzz", CARGO_FUZZ_VERSION, "builds and runs the fuzz targets"));
    }
    if matches!(set, Set::Dist | Set::CrossDist) {
        steps.extend(tool("cargo-deb", CARGO_DEB_VERSION, "makes the packages of Debian"));
        let why = "makes the packages of distributions with rpm";
        steps.extend(tool("cargo-generate-rpm", CARGO_GENERATE_RPM_VERSION, why));
    }
    if set == Set::CrossDist {
        steps.extend(rustup::target(dist::ARM64));
    }
    if steps.is_empty() {
        eprintln!("setup: everything is there");
        return Ok(());
    }
    perform(steps)
}

/// Takes `steps`, each with its reason; without the rights it shows the commands.
fn perform(steps: Vec<SetupStep>) -> Result<()> {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root && steps.iter().any(|step| step.needs_root) {
        eprintln!("setup: some of this needs root; these are the commands:");
        for step in &steps {
            eprintln!("# {}: {}", step.what, step.why);
            for command in &step.commands {
                eprintln!("{}", exec::shown(command));
            }
        }
        bail!("the machine is not set up; run the commands above as root, then try again");
    }
    let all = steps.len();
    for (at, mut step) in steps.into_iter().enumerate() {
        eprintln!("setup {}/{all}: installing {}: {}", at + 1, step.what, step.why);
        for command in &mut step.commands {
            exec::run(command)?;
        }
    }
    eprintln!("setup: done");
    Ok(())
}

/// bpf-linker, if it is not in the workspace's tools; `configure` adds what finding LLVM takes.
fn bpf_linker(configure: impl FnOnce(&mut Command)) -> Option<SetupStep> {
    let tools = exec::target().join("tools");
    if tools.join("bin/bpf-linker").is_file() {
        return None;
    }
    let mut install = exec::cargo();
    install.args(["install", "bpf-linker", "--locked", "--version", BPF_LINKER_VERSION]);
    configure(&mut install);
    install.arg("--root").arg(tools);
    Some(SetupStep {
        what: format!("bpf-linker {BPF_LINKER_VERSION} below target/tools"),
        why: "links the XDP program; compiling it takes one to two minutes",
        needs_root: false,
        commands: vec![install],
    })
}

/// Rust nightly, if rustup has none: sanitizers are not in a stable one.
fn nightly() -> Option<SetupStep> {
    if exec::output(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])).is_ok() {
        return None;
    }
    let mut install = Command::new("rustup");
    install.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
    Some(SetupStep {
        what: "Rust nightly".to_owned(),
        why: "fuzz targets are built with a sanitizer, which stable does not do",
        needs_root: false,
        commands: vec![install],
    })
}

/// A command of cargo, if it is not in the workspace's tools.
fn tool(name: &str, version: &str, why: &'static str) -> Option<SetupStep> {
    let tools = exec::target().join("tools");
    if tools.join("bin").join(name).is_file() {
        return None;
    }
    let mut install = exec::cargo();
    install.args(["install", name, "--locked", "--version", version]);
    install.arg("--root").arg(tools);
    let what = format!("{name} {version} below target/tools");
    Some(SetupStep { what, why, needs_root: false, commands: vec![install] })
}

/// A value of /etc/os-release.
fn os_release(key: &str) -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        .unwrap_or_default()
        .trim_matches('"')
        .to_owned()
}

const BPF_LINKER_VERSION: &str = "0.13.0";
const CARGO_DEB_VERSION: &str = "3.8.0";
const CARGO_FUZZ_VERSION: &str = "0.13.2";
const CARGO_GENERATE_RPM_VERSION: &str = "0.21.1";
