//! `dist`: the packages, in `target/dist/`.
//!
//! It builds what goes into them and starts the packagers. The lists of files are in
//! `userspace/sixgate/Cargo.toml`, scripts and units in `packaging/`; `check` installs the result.

mod architecture;
mod check;
mod licenses;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::{
    exec,
    setup::{self, Set},
};
use architecture::Architecture;

pub(crate) use architecture::ARM64;

/// Options of `dist`.
#[derive(Args)]
pub(crate) struct DistOptions {
    /// The processor of the packages; may be given several times
    #[arg(long, value_enum, default_value = "amd64")]
    arch: Vec<Architecture>,
    /// Try the packages, too: lintian, and a system booted by systemd-nspawn in which the package
    /// is installed, started, upgraded and purged
    #[arg(long)]
    check: bool,
}

impl DistOptions {
    /// The packages of this machine's processor, tried.
    pub(crate) fn checked() -> Self {
        Self { arch: vec![Architecture::Amd64], check: true }
    }
}

/// Builds the packages of each processor that was asked for.
pub(crate) fn run(options: &DistOptions) -> Result<()> {
    let is_foreign = options.arch.contains(&Architecture::Arm64);
    setup::run(if is_foreign { Set::CrossDist } else { Set::Dist })?;
    let version = version()?;
    fs::create_dir_all(folder()).context("cannot make target/dist")?;
    licenses::write(&folder())?;
    write_texts(&version)?;
    for architecture in &options.arch {
        let binary = build(*architecture)?;
        architecture.try_binary(&binary, &version)?;
        deb(*architecture)?;
        rpm(*architecture, &binary)?;
    }
    if options.check {
        check::run(&version)?;
    }
    list(&version)
}

/// The binary with its symbols, below cargo's target directory.
fn build(architecture: Architecture) -> Result<PathBuf> {
    let mut build = exec::cargo();
    build.args(["build", "--release", "--package", "sixgate"]);
    architecture.configure(&mut build)?;
    // they go into packages of their own
    exec::run(build.env("CARGO_PROFILE_RELEASE_STRIP", "none"))?;
    Ok(architecture.release().join("sixgate"))
}

/// Manual pages, completions, and the changelog in Debian's form.
fn write_texts(version: &str) -> Result<()> {
    let mut build = exec::cargo();
    build.args(["build", "--release", "--package", "sixgate", "--package", "sixgate-manual"]);
    exec::run(build.env("CARGO_PROFILE_RELEASE_STRIP", "none"))?;
    let manual = folder().join("manual");
    if manual.exists() {
        fs::remove_dir_all(&manual).context("cannot remove the manual of an earlier build")?;
    }
    exec::run(Command::new(exec::target().join("release/sixgate-manual")).arg(&manual))?;
    // the date of the last change, so that two builds of it are equal
    let mut date = Command::new("git");
    let date = exec::output(date.current_dir(exec::root()).args(["log", "-1", "--format=%cD"]))?;
    let maintainer = maintainer()?;
    let text = format!(
        "sixgate ({version}-{REVISION}) stable; urgency=medium\n\n  * The changes are in CHANGELOG.md.\n\n -- {maintainer}  {}\n",
        date.trim()
    );
    fs::write(folder().join("changelog"), text).context("cannot write the changelog")
}

/// The .deb, and the one with the symbols.
fn deb(architecture: Architecture) -> Result<()> {
    let mut deb = cargo_deb(REVISION, &folder());
    architecture.configure(&mut deb)?;
    exec::run(deb.arg("--dbgsym"))
}

/// The .deb of another revision in `to`, from what is built.
fn deb_of_revision(revision: &str, to: &Path) -> Result<()> {
    exec::run(cargo_deb(revision, to).args(["--fast", "--strip"]))
}

fn cargo_deb(revision: &str, to: &Path) -> Command {
    let mut deb = Command::new(exec::target().join("tools/bin/cargo-deb"));
    deb.current_dir(exec::root()).args(["--package", "sixgate", "--no-build"]);
    // as it was built: else the packager takes the symbols to be gone
    deb.env("CARGO_PROFILE_RELEASE_STRIP", "none");
    deb.args(["--deb-revision", revision, "--output"]).arg(to);
    deb
}

/// The .rpm of the stripped binary, and beside it the symbols, which debuggers find by the build's
/// number.
fn rpm(architecture: Architecture, binary: &Path) -> Result<()> {
    let stripped = folder().join("stripped");
    fs::create_dir_all(&stripped).context("cannot make target/dist/stripped")?;
    let debug = folder().join(format!("sixgate.{}.debug", architecture.of_rpm()));
    let objcopy = || Command::new(architecture.objcopy());
    exec::run(objcopy().args(["--only-keep-debug", "--compress-debug-sections"]).arg(binary).arg(&debug))?;
    let link = format!("--add-gnu-debuglink={}", debug.display());
    exec::run(objcopy().args(["--strip-all", &link]).arg(binary).arg(stripped.join("sixgate")))?;
    rpm_of_release(architecture, REVISION, &folder())
}

/// The .rpm of a release in `to`, from what is built and stripped.
fn rpm_of_release(architecture: Architecture, release: &str, to: &Path) -> Result<()> {
    let mut rpm = Command::new(exec::target().join("tools/bin/cargo-generate-rpm"));
    rpm.current_dir(exec::root()).args(["--package", "userspace/sixgate", "--auto-req", "disabled"]);
    rpm.args(["--set-metadata", &format!("release = {release:?}"), "--arch", architecture.of_rpm()]);
    exec::run(rpm.arg("--output").arg(to))
}

/// The sums of what was made.
fn list(version: &str) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder()).context("cannot read target/dist")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_package = [".deb", ".ddeb", ".rpm"].iter().any(|end| name.ends_with(end));
        if is_package && name.contains(version) || name.ends_with(".debug") {
            names.push(name);
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "no package of version {version} in target/dist");
    let sums = exec::output(Command::new("sha256sum").current_dir(folder()).args(&names))?;
    fs::write(folder().join("SHA256SUMS"), &sums).context("cannot write SHA256SUMS")?;
    print!("{sums}");
    Ok(())
}

/// Where packages are made. The lists of files name it, so that it is the same for every target
/// directory of cargo.
fn folder() -> PathBuf {
    exec::root().join("target/dist")
}

/// The version of the workspace.
fn version() -> Result<String> {
    value("Cargo.toml", "version")
}

fn maintainer() -> Result<String> {
    value("userspace/sixgate/Cargo.toml", "maintainer")
}

/// The first value of `key` in a manifest.
fn value(manifest: &str, key: &str) -> Result<String> {
    let path = exec::root().join(manifest);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
    let value = value.with_context(|| format!("no `{key} = …` in {manifest}"))?;
    Ok(value.trim().trim_matches('"').to_owned())
}

/// Counts packages of one version.
const REVISION: &str = "1";
