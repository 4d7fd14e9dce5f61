//! The needs of a privileged test: it runs where they are met, names the missing ones where they
//! are not, and never passes by skipping under CI=true.
//!
//! It installs nothing; `cargo xtask setup` does.

use std::{env, fmt, fs};

use sixgate_dataplane::embedded_object;

use crate::{clock, dovecot, exim, log_readers, opensmtpd, postfix, prometheus, unpacked};

/// Something that a test cannot do without.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Need {
    /// User 0 with its rights: namespaces, mounts, BPF.
    Root,
    /// A program in PATH.
    Program(&'static str),
    /// A device of the kernel.
    Device(&'static str),
    /// A kernel with the BPF file system.
    Bpffs,
    /// The XDP program in this build.
    Xdp,
    /// Debian's Postfix, unpacked.
    Postfix,
    /// Debian's Dovecot, unpacked.
    Dovecot,
    /// Debian's Exim, unpacked.
    Exim,
    /// Debian's Exim with all that it can be built with, and Debian's configuration, unpacked.
    EximHeavy,
    /// Debian's OpenSMTPD, unpacked.
    OpenSmtpd,
    /// Debian's rspamd, unpacked.
    Rspamd,
    /// Debian's libfaketime, unpacked.
    Faketime,
    /// Debian's Prometheus, unpacked.
    Prometheus,
    /// Debian's readers of Postfix's log, unpacked.
    LogReaders,
}

impl Need {
    fn is_met(self) -> bool {
        match self {
            Self::Root => nix::unistd::geteuid().is_root(),
            Self::Program(name) => env::var_os("PATH")
                .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(name).is_file())),
            Self::Device(path) => fs::exists(path).unwrap_or(false),
            Self::Bpffs => fs::read_to_string("/proc/filesystems").is_ok_and(|known| known.contains("\tbpf")),
            Self::Xdp => !embedded_object().is_empty(),
            Self::Postfix => postfix::folder().is_some(),
            Self::Dovecot => dovecot::folder().is_some(),
            Self::Exim => exim::folder().is_some(),
            Self::EximHeavy => unpacked::exim_heavy().is_some(),
            Self::OpenSmtpd => opensmtpd::folder().is_some(),
            Self::Rspamd => unpacked::rspamd().is_some(),
            Self::Faketime => clock::library().is_some(),
            Self::Prometheus => prometheus::folder().is_some(),
            Self::LogReaders => log_readers::folder().is_some(),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Program(name) => write!(f, "{name} in PATH"),
            Self::Device(path) => f.write_str(path),
            Self::Bpffs => f.write_str("a kernel with bpffs"),
            Self::Xdp => f.write_str("a build without AYA_BUILD_SKIP=1"),
            Self::Postfix => f.write_str("Postfix below target/tools (cargo xtask setup)"),
            Self::Dovecot => f.write_str("Dovecot below target/tools (cargo xtask setup)"),
            Self::Exim => f.write_str("Exim below target/tools (cargo xtask setup)"),
            Self::EximHeavy => f.write_str("exim4-daemon-heavy below target/tools (cargo xtask setup)"),
            Self::OpenSmtpd => f.write_str("OpenSMTPD below target/tools (cargo xtask setup)"),
            Self::Rspamd => f.write_str("rspamd below target/tools (cargo xtask setup)"),
            Self::Faketime => f.write_str("libfaketime below target/tools (cargo xtask setup)"),
            Self::Prometheus => f.write_str("Prometheus below target/tools (cargo xtask setup)"),
            Self::LogReaders => f.write_str("pflogsumm and others below target/tools (cargo xtask setup)"),
        }
    }
}

/// Whether all `needs` are met. If not, the missing ones are printed, and the test returns:
///
/// ```
/// # use sixgate_tests::gate::{self, Need};
/// if !gate::require(&[Need::Root]) {
///     return;
/// }
/// ```
///
/// # Panics
/// If something is missing and CI=true: a test that was not run has not passed.
#[must_use]
pub fn require(needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter(|need| !need.is_met()).map(Need::to_string).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = format!("needs {}", missing.join(" and "));
    let ci = env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!ci, "{missing}; under CI=true nothing is skipped");
    eprintln!("skipped: {missing}");
    false
}

/// Whether tests that take minutes run too: `cargo xtask test --long`, told as [`LONG`]=1.
#[must_use]
pub fn long() -> bool {
    env::var_os(LONG).is_some_and(|value| value == "1")
}

/// The environment variable that [`long`] reads.
pub const LONG: &str = "SIXGATE_TEST_LONG";
