//! Builds a BPF program of this workspace for `bpfel-unknown-none` from a build script, and leaves
//! the object in `OUT_DIR`.
//!
//! It owns the inner cargo call: which compiler, which target directory, and an environment of its
//! own. It installs nothing: `cargo xtask setup` does.
//!
//! With `AYA_BUILD_SKIP=1` the object is empty; loading it fails with an error that names the
//! variable.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// A package of this workspace whose one program is for BPF. Package and program have the same
/// name.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The package's name.
    pub package: &'static str,
    /// The package's folder, below the workspace's root.
    pub folder: &'static str,
    /// The name of the object's file in `OUT_DIR`.
    pub object: &'static str,
    /// The package's features that are on.
    pub features: &'static [&'static str],
}

/// Builds programs for the build script that calls this, whose package lies anywhere below the
/// workspace's root. What goes wrong is printed on standard error, for cargo to show.
#[must_use]
pub fn build(programs: &[Program]) -> ExitCode {
    match programs.iter().try_for_each(Program::build) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

impl Program {
    fn build(&self) -> Result<(), String> {
        let workspace = workspace(&variable("CARGO_MANIFEST_DIR")?)?;
        let out = variable("OUT_DIR")?;
        let object = out.join(self.object);
        println!("cargo::rerun-if-env-changed={SKIP}");
        if env::var_os(SKIP).is_some_and(|value| value == "1") {
            return fs::write(&object, []).map_err(|error| failed("write", &object, &error));
        }
        for watched in [self.folder, "common/src", "common/Cargo.toml", "Cargo.toml", "Cargo.lock"] {
            println!("cargo::rerun-if-changed={}", workspace.join(watched).display());
        }
        let target = target_directory(&out);
        let linker = linker(&target)?;
        println!("cargo::rerun-if-changed={}", linker.display());
        // an object of the same package with other features would be built to the same path
        let ours = target.join("ebpf").join(self.object);
        self.compile(&workspace, &ours, &linker)?;
        let built = ours.join(TARGET).join("release").join(self.package);
        fs::copy(&built, &object).map_err(|error| failed("copy", &built, &error))?;
        Ok(())
    }

    /// Runs the inner cargo. Its target directory is the object's own, so that it never waits for
    /// the outer build's lock, and the same for all profiles.
    fn compile(&self, workspace: &Path, target: &Path, linker: &Path) -> Result<(), String> {
        let mut command = compiler()?;
        command
            .args(["build", "--locked", "--release", "--package", self.package, "--bin", self.package])
            .args(["--features", &self.features.join(",")])
            .args(["--target", TARGET, "--target-dir"])
            .arg(target)
            .env("RUSTFLAGS", RUSTFLAGS)
            // the kernel and the loader need the object's BTF and its symbols
            .env("CARGO_PROFILE_RELEASE_STRIP", "none")
            .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
            .current_dir(workspace);
        let output = command.output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "{} does not build ({}):\n{}\n{command:?}",
            self.package,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// A cargo that can build for BPF: the distribution's with its ready-made `core`, else rustup's
/// nightly, which builds `core` from rust-src.
fn compiler() -> Result<Command, String> {
    if Path::new(SYSTEM_CARGO).exists() && has_core(SYSTEM_RUSTC) {
        let mut command = clean(SYSTEM_CARGO);
        // aya-ebpf uses one unstable feature (inline assembly for BPF).
        command.env("RUSTC", SYSTEM_RUSTC).env("RUSTC_BOOTSTRAP", "1");
        return Ok(command);
    }
    if has_nightly_source() {
        let mut command = clean("rustup");
        command.args(["run", "nightly", "cargo", "-Z", "build-std=core"]);
        return Ok(command);
    }
    Err(format!(
        "no Rust compiler for {TARGET}: neither {SYSTEM_RUSTC} with a core for it, nor rustup's nightly with \
         rust-src; `cargo xtask setup` installs what is missing, {SKIP}=1 builds without the XDP program"
    ))
}

fn has_core(rustc: &str) -> bool {
    sysroot(clean(rustc)).is_some_and(|root| root.join("lib/rustlib").join(TARGET).is_dir())
}

fn has_nightly_source() -> bool {
    let mut rustc = clean("rustup");
    rustc.args(["run", "nightly", "rustc"]);
    sysroot(rustc).is_some_and(|root| root.join("lib/rustlib/src/rust/library/core").is_dir())
}

fn sysroot(mut rustc: Command) -> Option<PathBuf> {
    let output = rustc.args(["--print", "sysroot"]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| PathBuf::from(text.trim_end()))
}

/// bpf-linker: where `cargo xtask setup` installs it, else in PATH.
fn linker(target: &Path) -> Result<PathBuf, String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let tools = target.join("tools/bin");
    std::iter::once(tools.clone())
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(LINKER))
        .find(|file| file.is_file())
        .ok_or_else(|| {
            format!(
                "{LINKER} is neither in {} nor in PATH; `cargo xtask setup` installs it, {SKIP}=1 builds \
                 without the XDP program",
                tools.display()
            )
        })
}

/// The workspace's root above `package`: the folder with the lock file.
fn workspace(package: &Path) -> Result<PathBuf, String> {
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    root.map(Path::to_owned).ok_or_else(|| format!("no Cargo.lock above {}", package.display()))
}

/// The workspace's target directory, wherever configuration put it. Cargo marks the one that it
/// made itself; else it is where cargo's layout has it, four above `OUT_DIR`. In a build with
/// `--target` both are one below it, a directory that cargo marks, too.
fn target_directory(out: &Path) -> PathBuf {
    let found = out
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").is_file())
        .or_else(|| out.ancestors().nth(4))
        .unwrap_or(out);
    let is_of_target = found.file_name() == env::var_os("TARGET").as_deref();
    found.parent().filter(|_| is_of_target).unwrap_or(found).to_owned()
}

/// A command without what the outer cargo set for this build: its compiler, wrapper, flags and
/// target.
fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os() {
        if belongs_to_outer(&name) {
            command.env_remove(name);
        }
    }
    command
}

fn belongs_to_outer(name: &OsString) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let kept = KEPT.iter().any(|prefix| name.starts_with(prefix));
    !kept && (name.starts_with("CARGO") || name.starts_with("RUST") || OUTER.contains(&name))
}

fn variable(name: &str) -> Result<PathBuf, String> {
    env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("cargo has not set {name}"))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}

const TARGET: &str = "bpfel-unknown-none";
const LINKER: &str = "bpf-linker";
const SKIP: &str = "AYA_BUILD_SKIP";
/// The distribution's compiler; Debian packages a `core` for BPF with it.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SYSTEM_CARGO: &str = "/usr/bin/cargo";
/// Full debug information becomes the program's BTF.
const RUSTFLAGS: &str =
    "-C debuginfo=2 -C link-arg=--btf -C link-arg=--cpu-features=+allows-misaligned-mem-access";
/// The variables of the outer cargo that the inner one may keep: where things lie and how to
/// download.
const KEPT: [&str; 7] = [
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_SOURCE_",
    "RUSTUP_HOME",
    "RUSTUP_DIST_SERVER",
];
/// Further variables that belong to the outer build only; everything that starts with CARGO or RUST
/// does, too.
const OUTER: [&str; 9] = [
    "DEBUG",
    "HOST",
    "LD_LIBRARY_PATH",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "TARGET",
    "MAKEFLAGS",
];
