//! Starting other programs: each is printed as a line that can be pasted into a shell before it
//! runs.
//!
//! It owns no decision about what to run.

use std::{
    ffi::OsStr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

/// The workspace's root folder.
pub(crate) fn root() -> &'static Path {
    // xtask's own manifest lies one level below
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// The cargo that runs us, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(root());
    command
}

/// The build of everything that suites and demo start, in one invocation, so that dependencies are
/// built once.
pub(crate) fn build_binaries() -> Command {
    let mut build = cargo();
    build.args(["build", "--bins"]);
    build.args(["--package", "sixgate", "--package", "sixgate-tests", "--package", "sixgate-bench"]);
    build
}

/// `cargo TASK` for all packages but those that are built for BPF.
pub(crate) fn cargo_for_host(task: &str) -> Command {
    let mut command = cargo();
    command.args([task, "--workspace"]).args(BPF_PACKAGES.iter().flat_map(|package| ["--exclude", package]));
    command
}

/// Prints `command` and runs it to its end; an error if it does not end with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(status.success(), "`{shown}` failed ({status})");
    Ok(())
}

/// Prints `command` and becomes it: its last line is our last line, its exit code ours. Returns
/// only if it cannot be started.
pub(crate) fn become_it(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    Err(command.exec()).with_context(|| format!("cannot start `{shown}`"))
}

/// What `command` prints, without showing it; an error if it does not end with 0.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.output().with_context(|| format!("cannot start `{shown}`"))?;
    ensure!(
        output.status.success(),
        "`{shown}` failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` did not print text"))
}

/// `command` as a shell would take it.
pub(crate) fn shown(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        let value = value?.to_string_lossy();
        Some(format!("{}={}", name.to_string_lossy(), quoted(&value)))
    });
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .map(|word| quoted(&word));
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(&octet);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The packages that are built for BPF, by build scripts.
pub(crate) const BPF_PACKAGES: &[&str] = &["sixgate-ebpf", "sixgate-tests-ebpf"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_pasted() {
        let mut command = Command::new("echo");
        command.args(["plain-1.0", "two words", "it's", ""]).env("A", "x y").env_remove("B");
        assert_eq!(shown(&command), r"A='x y' echo plain-1.0 'two words' 'it'\''s' ''");
    }
}
