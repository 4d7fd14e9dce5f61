//! Debian 12: a Rust with a prebuilt `core` for the BPF target comes from its own archive, so that
//! neither nightly nor `-Z build-std` is needed.
//!
//! It owns package names, not the way in which they are installed.

use std::{ffi::OsStr, fs, path::Path, process::Command, time::Duration};

use anyhow::Result;

use super::{Set, SetupStep};
use crate::exec;

/// Programs that the suites use without having them installed.
struct Unpacked {
    name: &'static str,
    /// Where it lies below target/tools.
    folder: &'static str,
    packages: &'static [&'static str],
    why: &'static str,
}

/// Whether this is Debian 12: the one release where these packages are known to work.
pub(super) fn is_supported() -> bool {
    super::os_release("ID") == "debian" && super::os_release("VERSION_ID") == "12"
}

/// Packages that are missing for `set`.
pub(super) fn missing(set: Set) -> Result<Vec<SetupStep>> {
    let building = lacking(BUILD_PACKAGES)?;
    let (mut testing, mut unpacked, mut machines) = (Vec::new(), Vec::new(), Vec::new());
    let mut packaging = Vec::new();
    let mut fetched = building.clone();
    if set == Set::Vm {
        machines = lacking(VM_PACKAGES)?;
        fetched.extend(&machines);
    }
    if matches!(set, Set::Dist | Set::CrossDist) {
        packaging = lacking(DIST_PACKAGES)?;
        if set == Set::CrossDist {
            packaging.extend(lacking(CROSS_PACKAGES)?);
        }
        fetched.extend(&packaging);
    }
    if set == Set::Test {
        testing = lacking(TEST_PACKAGES)?;
        fetched.extend(&testing);
        for tool in UNPACKED {
            let step = unpack(tool);
            fetched.extend(step.iter().flat_map(|_| tool.packages));
            unpacked.extend(step);
        }
    }
    let mut steps = Vec::new();
    steps.extend(package_lists(&fetched)?);
    steps.extend(packages("packages for building", BUILD_WHY, &building));
    steps.extend(packages("packages for testing", TEST_WHY, &testing));
    steps.extend(packages("packages for virtual machines", VM_WHY, &machines));
    steps.extend(packages("packages for packages", DIST_WHY, &packaging));
    steps.extend(unpacked);
    steps.extend(super::bpf_linker(|install| {
        install
            .args(["--no-default-features", "--features", LLVM_FEATURE])
            .env("LLVM_PREFIX", LLVM_PREFIX)
            .env("LLVM_SYS_221_PREFIX", LLVM_PREFIX);
    }));
    Ok(steps)
}

/// The step that brings the package lists up to date, if `names` cannot be fetched with those that
/// are there.
fn package_lists(names: &[&str]) -> Result<Option<SetupStep>> {
    if names.is_empty() || are_recent() && are_known(names)? {
        return Ok(None);
    }
    Ok(Some(SetupStep {
        what: "package lists".to_owned(),
        why: "those of this machine are old, or lack what follows",
        needs_root: true,
        commands: vec![apt_get(&["update"])],
    }))
}

/// The step that installs `names`.
fn packages(what: &str, why: &'static str, names: &[&str]) -> Option<SetupStep> {
    if names.is_empty() {
        return None;
    }
    let mut install = apt_get(&["install", "--yes", "--no-install-recommends"]);
    install.args(names);
    let what = format!("{what} ({})", names.join(" "));
    Some(SetupStep { what, why, needs_root: true, commands: vec![install] })
}

/// What brings `tool` into the workspace's tools, if it is not there. It is unpacked and not
/// installed: the suites start it, the machine's own mail system, if it has one, stays as it is,
/// and servers whose packages exclude each other stand side by side.
fn unpack(tool: &Unpacked) -> Option<SetupStep> {
    let tools = exec::target().join("tools");
    if tools.join(tool.folder).is_dir() {
        return None;
    }
    let folder = tools.join(format!("{}.download", tool.folder));
    let root = folder.join("root");
    // apt-get downloads into the working directory, which a pasted command has to know too
    let mut download = command("env", &["--chdir".as_ref(), folder.as_os_str()]);
    download.args(["apt-get", "-o", "APT::Sandbox::User=root", "download"]).args(tool.packages);
    // a package's file has its version in its name
    let mut extract = command("find", &[folder.as_os_str(), "-name".as_ref(), "*.deb".as_ref()]);
    extract.args(["-exec", "dpkg-deb", "--extract", "{}"]).arg(&root).arg(";");
    Some(SetupStep {
        what: format!("{} below target/tools, not installed", tool.name),
        why: tool.why,
        needs_root: false,
        commands: vec![
            command("mkdir", &["--parents".as_ref(), folder.as_os_str()]),
            download,
            extract,
            // only root has to start them
            command("chmod", &["--recursive".as_ref(), "ug-s".as_ref(), root.as_os_str()]),
            command("mv", &[root.as_os_str(), tools.join(tool.folder).as_os_str()]),
        ],
    })
}

/// Which of `names` are not installed.
fn lacking(names: &[&'static str]) -> Result<Vec<&'static str>> {
    // dpkg-query fails when it does not know a name: what it prints is all that counts
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(names)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let installed: Vec<&str> = text.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    Ok(names.iter().copied().filter(|name| !installed.contains(name)).collect())
}

/// Whether the package lists were fetched lately: what older ones name may be gone from the
/// archive.
fn are_recent() -> bool {
    is_recent(Path::new("/var/lib/apt/lists/partial"))
}

/// Whether what happened when `file` was written happened lately enough for package lists.
pub(super) fn is_recent(file: &Path) -> bool {
    let fetched = fs::metadata(file).and_then(|file| file.modified());
    fetched.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < LISTS_AGE_MAX))
}

/// Whether the package lists on this machine have a fit version of each of `names`.
fn are_known(names: &[&str]) -> Result<bool> {
    for name in names {
        let policy = exec::output(Command::new("apt-cache").args(["policy", name]))?;
        let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        match candidate {
            None | Some("(none)") => return Ok(false),
            // bookworm's first release had an older one; the security archive has this
            Some(version) if *name == RUSTC && !version.starts_with(RUSTC_VERSION) => return Ok(false),
            Some(_) => {}
        }
    }
    Ok(true)
}

fn command(program: &str, arguments: &[&OsStr]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

const LISTS_AGE_MAX: Duration = Duration::from_secs(3 * 24 * 60 * 60);
const RUSTC: &str = "rustc-web";
const RUSTC_VERSION: &str = "1.96.";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const LLVM_FEATURE: &str = "llvm-22";

const BUILD_WHY: &str =
    "a Rust that compiles for BPF, LLVM for bpf-linker, a C compiler for the cryptography, ip";
const BUILD_PACKAGES: &[&str] = &[
    RUSTC,
    "cargo-web",
    "libstd-rust-web-dev-bpf",
    "llvm-22-dev",
    "libpolly-22-dev",
    "zlib1g-dev",
    "libzstd-dev",
    "libxml2-dev",
    "g++",
    "iproute2",
];

const TEST_WHY: &str = "real senders and mail servers for the suites";
const TEST_PACKAGES: &[&str] = &[
    "swaks",
    // loads the status page
    "chromium-headless-shell",
    "fonts-dejavu-core",
    // systemd-analyze, for the unit
    "systemd",
    // turns off what a network device does by itself
    "ethtool",
    // swaks uses IPv6 through it
    "libio-socket-inet6-perl",
    // what the servers below are linked with
    "libdb5.3",
    "libevent-2.1-7",
    "libgnutls-dane0",
    "libgnutls30",
    "libglib2.0-0",
    "libhyperscan5",
    "libicu72",
    "libidn12",
    "libidn2-0",
    "libldap-2.5-0",
    "libluajit-5.1-2",
    "libmariadb3",
    "libnsl2",
    "libpam0g",
    "libpcre2-8-0",
    "libperl5.36",
    "libpq5",
    "libsasl2-2",
    "libsodium23",
    "libspf2-2",
    "libsqlite3-0",
    "libssl3",
    "libunwind8",
    // what pflogsumm and fail2ban are written in
    "libdate-calc-perl",
    "python3",
];

const VM_WHY: &str = "QEMU, and what goes into the memory of a machine or makes it";
const VM_PACKAGES: &[&str] = &[
    "binutils",
    "bpftool",
    "busybox-static",
    "cpio",
    "debian-archive-keyring",
    "ethtool",
    "kmod",
    "qemu-system-x86",
    "xz-utils",
    "zstd",
];

const DIST_WHY: &str = "what makes packages, checks them, and boots a system to install them in";
const DIST_PACKAGES: &[&str] =
    &["binutils", "debian-archive-keyring", "dpkg-dev", "lintian", "mmdebstrap", "systemd-container"];
/// What AArch64 needs besides.
const CROSS_PACKAGES: &[&str] = &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user-static"];

const UNPACKED: &[Unpacked] = &[
    Unpacked {
        name: "Postfix",
        folder: "postfix",
        packages: &["postfix"],
        why: "a mail server behind and a sender, for the suites",
    },
    Unpacked {
        name: "Dovecot",
        folder: "dovecot",
        packages: &["dovecot-core", "dovecot-lmtpd"],
        why: "a mail server behind that speaks LMTP, for the suites",
    },
    Unpacked {
        name: "Exim",
        folder: "exim",
        packages: &["exim4-daemon-light"],
        why: "a sender, for the suites",
    },
    Unpacked {
        name: "Exim with the PROXY protocol",
        folder: "exim-heavy",
        packages: &["exim4-base", "exim4-config", "exim4-daemon-heavy"],
        why: "a mail server behind, for the suites",
    },
    Unpacked {
        name: "OpenSMTPD",
        folder: "opensmtpd",
        packages: &["opensmtpd"],
        why: "a sender and a mail server behind, for the suites",
    },
    Unpacked {
        name: "rspamd",
        folder: "rspamd",
        packages: &["rspamd"],
        why: "a milter of the mail server behind, for the suites",
    },
    Unpacked {
        name: "libfaketime",
        folder: "libfaketime",
        packages: &["libfaketime"],
        why: "a time of day that jumps, for the suites",
    },
    Unpacked {
        name: "Prometheus",
        folder: "prometheus",
        packages: &["prometheus"],
        why: "checks the metrics, the alerts and the dashboard, for the suites",
    },
    Unpacked {
        name: "readers of Postfix's log",
        folder: "log-readers",
        packages: &["fail2ban", "pflogsumm", "prometheus-postfix-exporter"],
        why: "programs that the log has to be right for, for the suites",
    },
];
