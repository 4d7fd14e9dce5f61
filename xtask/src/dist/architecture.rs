//! The processors that packages are made for: names, compilers, and the trial of a binary.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::exec;

/// A processor, by Debian's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Architecture {
    /// x86-64, built by this machine's compilers
    Amd64,
    /// AArch64, built by cross compilers
    Arm64,
}

impl Architecture {
    /// The name that rpm uses.
    pub(super) fn of_rpm(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }

    /// The target that rustc builds for.
    pub(super) fn of_rust(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64-unknown-linux-gnu",
            Self::Arm64 => ARM64,
        }
    }

    /// The program that takes symbols out of its binaries.
    pub(super) fn objcopy(self) -> &'static str {
        match self {
            Self::Amd64 => "objcopy",
            Self::Arm64 => "aarch64-linux-gnu-objcopy",
        }
    }

    /// Has `cargo`, or a program that is called as it is, build for this processor.
    ///
    /// # Errors
    /// A machine that has no compilers for it.
    pub(super) fn configure(self, cargo: &mut Command) -> Result<()> {
        match self {
            Self::Amd64 => {
                ensure!(cfg!(target_arch = "x86_64"), "packages are made on an x86-64 machine");
            }
            Self::Arm64 => {
                cargo.args(["--target", ARM64]);
                cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", ARM64_CC);
                // SQLite and the cryptography have C and assembly in them
                cargo.env("CC_aarch64_unknown_linux_gnu", ARM64_CC);
            }
        }
        Ok(())
    }

    /// The folder with its release build.
    pub(super) fn release(self) -> PathBuf {
        match self {
            Self::Amd64 => exec::target().join("release"),
            Self::Arm64 => exec::target().join(ARM64).join("release"),
        }
    }

    /// Starts `binary`, in an emulator where it is for another processor.
    ///
    /// # Errors
    /// One that does not start, or is of another version.
    pub(super) fn try_binary(self, binary: &Path, version: &str) -> Result<()> {
        let mut command = match self {
            Self::Amd64 => Command::new(binary),
            Self::Arm64 => {
                let mut emulator = Command::new("qemu-aarch64-static");
                emulator.args(["-L", "/usr/aarch64-linux-gnu"]).arg(binary);
                emulator
            }
        };
        let printed = exec::output(command.arg("--version"))?;
        ensure!(printed.trim() == format!("sixgate {version}"), "`sixgate --version` printed {printed:?}");
        Ok(())
    }
}

/// The name of AArch64 in Rust.
pub(crate) const ARM64: &str = "aarch64-unknown-linux-gnu";
const ARM64_CC: &str = "aarch64-linux-gnu-gcc";
