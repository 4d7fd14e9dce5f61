//! Any other distribution: nightly with the source of `core`, and bpf-linker with the LLVM that it
//! asks for.
//!
//! It owns no package of the distribution: what those lack is named, not installed.

use std::process::Command;

use anyhow::{Result, ensure};

use super::{Set, SetupStep};
use crate::exec;

/// The step that adds the standard library for `target`, if the compiler has none.
pub(super) fn target(target: &str) -> Option<SetupStep> {
    let sysroot = exec::output(Command::new("rustc").args(["--print", "sysroot"]));
    let is_there = |root: &str| std::path::Path::new(root.trim()).join("lib/rustlib").join(target).is_dir();
    if sysroot.is_ok_and(|root| is_there(&root)) {
        return None;
    }
    let mut install = Command::new("rustup");
    install.args(["target", "add", target]);
    Some(SetupStep {
        what: format!("Rust's standard library for {target}"),
        why: "the binary for that processor is built on this machine",
        needs_root: false,
        commands: vec![install],
    })
}

/// Tools that are missing for `set`.
pub(super) fn missing(set: Set) -> Result<Vec<SetupStep>> {
    let mut programs = vec!["cc", "ip"];
    if set == Set::Test {
        programs.push("swaks");
    }
    if set == Set::Vm {
        // the kernels are Debian's packages, on every distribution
        programs.extend(["apt-get", "dpkg-deb", "qemu-system-x86_64", "busybox", "strip", "cpio"]);
        programs.extend(["depmod", "xz", "zstd", "ethtool", "bpftool"]);
    }
    if matches!(set, Set::Dist | Set::CrossDist) {
        programs.extend(["objcopy", "dpkg-shlibdeps", "lintian", "mmdebstrap", "systemd-nspawn"]);
    }
    if set == Set::CrossDist {
        programs.extend(["aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objcopy", "qemu-aarch64-static"]);
    }
    let lacking: Vec<&str> = programs.into_iter().filter(|name| !is_in_path(name)).collect();
    ensure!(
        lacking.is_empty(),
        "install with this system's package manager: {} (packages of Debian 12 are installed by setup, others are not)",
        lacking.join(" ")
    );
    let mut steps = Vec::new();
    if !has_nightly_source() {
        let mut install = Command::new("rustup");
        install.args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"]);
        steps.push(SetupStep {
            what: "Rust nightly with the source of core".to_owned(),
            why: "core is built for BPF, which stable does not do",
            needs_root: false,
            commands: vec![install],
        });
    }
    // its default feature names the LLVM that it needs, and its build names what it does not find
    steps.extend(super::bpf_linker(|_| {}));
    Ok(steps)
}

fn has_nightly_source() -> bool {
    let sysroot = exec::output(Command::new("rustc").args(["+nightly", "--print", "sysroot"]));
    sysroot.is_ok_and(|path| {
        std::path::Path::new(path.trim()).join("lib/rustlib/src/rust/library/core").is_dir()
    })
}

fn is_in_path(program: &str) -> bool {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).any(|folder| folder.join(program).is_file())
}
