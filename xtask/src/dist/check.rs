//! Tries the packages: lintian, then a Debian 12 with its own systemd, booted by systemd-nspawn.
//! The .deb has two boots, as a host has that is rebooted; the second has restarts and upgrades
//! under load, and the removal. The .rpm has one, in a root of its own.
//!
//! What happens in there is the business of the scripts below `proof/`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{Architecture, REVISION, deb_of_revision, folder, rpm_of_release};
use crate::exec;

/// Tries the packages for this machine's processor.
///
/// # Errors
/// The first step that does not hold.
pub(super) fn run(version: &str) -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "booting a system with systemd-nspawn needs root");
    let later = folder().join("later");
    fs::create_dir_all(&later).context("cannot make target/dist/later")?;
    let deb = |folder: &Path, revision| folder.join(format!("sixgate_{version}-{revision}_amd64.deb"));
    exec::run(Command::new("lintian").args(LINTIAN).arg(deb(&folder(), REVISION)))?;
    // the same with higher revisions, for the upgrades
    deb_of_revision(LATER, &later)?;
    rpm_of_release(Architecture::Amd64, LATER, &later)?;
    let packages = [("sixgate.deb", deb(&folder(), REVISION)), ("upgrade.deb", deb(&later, LATER))];
    Proof::prepare(DEB_SCRIPT, &packages)?.boot(&["first", "second"])?;
    let rpm = |folder: &Path, release| folder.join(format!("sixgate-{version}-{release}.x86_64.rpm"));
    let packages = [("sixgate.rpm", rpm(&folder(), REVISION)), ("upgrade.rpm", rpm(&later, LATER))];
    Proof::prepare(RPM_SCRIPT, &packages)?.boot(&["rpm"])
}

/// A root file system with packages in it.
struct Proof {
    root: PathBuf,
    /// Where a bpf file system is mounted while it runs.
    bpffs: PathBuf,
}

impl Proof {
    /// A fresh one, with `packages` under these names.
    fn prepare(script: &str, packages: &[(&str, PathBuf)]) -> Result<Self> {
        let archive = folder().join("debian-12.tar");
        if !archive.exists() {
            let mut debian = Command::new("mmdebstrap");
            debian.args(["--quiet", "--variant=minbase", INCLUDE, "bookworm"]);
            exec::run(debian.arg(&archive))?;
        }
        let root = folder().join("root");
        if root.exists() {
            fs::remove_dir_all(&root).context("cannot remove the root of an earlier check")?;
        }
        fs::create_dir_all(&root).context("cannot make target/dist/root")?;
        exec::run(
            Command::new("tar").arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&root),
        )?;
        let proof = root.join("proof");
        fs::create_dir_all(&proof).context("cannot make the folder of the proof")?;
        for (name, package) in packages {
            let copied = fs::copy(package, proof.join(name));
            copied.with_context(|| format!("cannot copy {}", package.display()))?;
        }
        for (name, text) in [("proof.sh", script), ("common.sh", COMMON_SCRIPT), ("load.sh", LOAD_SCRIPT)] {
            fs::write(proof.join(name), text).with_context(|| format!("cannot write {name}"))?;
        }
        let units = root.join("etc/systemd/system");
        fs::write(units.join("proof.service"), UNIT).context("cannot write the unit")?;
        exec::run(
            Command::new("systemctl")
                .arg(format!("--root={}", root.display()))
                .args(["enable", "proof.service"]),
        )?;
        Ok(Self { root, bpffs: folder().join("bpf") })
    }

    /// Boots it once for each of `boots`.
    fn boot(&self, boots: &[&str]) -> Result<()> {
        boots.iter().try_for_each(|boot| self.boot_once(boot))
    }

    /// Boots it until the script of this boot has ended.
    fn boot_once(&self, boot: &str) -> Result<()> {
        fs::write(self.root.join("proof/boot"), boot).context("cannot write the number of the boot")?;
        fs::create_dir_all(&self.bpffs).context("cannot make the folder of the bpf file system")?;
        // each boot has an empty one, for root alone, as systemd mounts it
        exec::run(Command::new("mount").args(["-t", "bpf", "-o", "mode=0700", "bpf"]).arg(&self.bpffs))?;
        let mut machine = Command::new("systemd-nspawn");
        machine.arg("--directory").arg(&self.root);
        machine.args(["--boot", "--quiet", "--register=no", "--keep-unit", "--private-network"]);
        machine.args(["--console=read-only", "--capability=all", SYSTEM_CALLS]);
        machine.arg(format!("--bind={}:/sys/fs/bpf", self.bpffs.display())).arg(QUIET);
        let ended = exec::run(&mut machine);
        let unmounted = exec::run(Command::new("umount").arg(&self.bpffs));
        ended.and(unmounted)?;
        let result = fs::read_to_string(self.root.join("proof").join(format!("{boot}.result")));
        let result = result.with_context(|| format!("the {boot} boot ended without a result"))?;
        ensure!(result.trim() == "0", "the {boot} boot: proof.sh ended with {}", result.trim());
        Ok(())
    }
}

/// The revision of the upgrade.
const LATER: &str = "2";
const LINTIAN: &[&str] = &["--fail-on", "error,warning", "--info"];
const DEB_SCRIPT: &str = include_str!("proof/deb.sh");
const RPM_SCRIPT: &str = include_str!("proof/rpm.sh");
const COMMON_SCRIPT: &str = include_str!("proof/common.sh");
const LOAD_SCRIPT: &str = include_str!("proof/load.sh");
const INCLUDE: &str = "--include=systemd,systemd-sysv,dbus,iproute2,procps,rpm";
/// Those of the daemon that systemd-nspawn would refuse.
const SYSTEM_CALLS: &str = "--system-call-filter=bpf perf_event_open landlock_create_ruleset landlock_add_rule \
     landlock_restrict_self";
const QUIET: &str = "systemd.show_status=0";
const UNIT: &str = "\
[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=journal+console
StandardError=journal+console
ExecStart=/bin/sh -c 'bash /proof/proof.sh; echo $? >/proof/$(cat /proof/boot).result'
ExecStopPost=systemctl --no-block poweroff
[Install]
WantedBy=graphical.target
";
