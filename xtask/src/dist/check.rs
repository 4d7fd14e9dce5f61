//! Tries the packages: lintian, then a Debian 12 with its own systemd, booted by systemd-nspawn,
//! twice, as a host is that was rebooted. The second boot has an upgrade, and the removal.
//!
//! What happens in there is the business of `proof.sh`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{REVISION, deb_of_revision, folder};
use crate::exec;

/// Tries the .deb for this machine's processor.
///
/// # Errors
/// The first step that does not hold.
pub(super) fn run(version: &str) -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "booting a system with systemd-nspawn needs root");
    let package = folder().join(format!("sixgate_{version}-{REVISION}_amd64.deb"));
    exec::run(Command::new("lintian").args(["--fail-on", "error,warning", "--info"]).arg(&package))?;
    let proof = Proof::prepare(&package, &upgrade(version)?)?;
    for boot in ["first", "second"] {
        proof.boot(boot)?;
    }
    Ok(())
}

/// The same package with a higher revision, for the upgrade.
fn upgrade(version: &str) -> Result<PathBuf> {
    let later = folder().join("later");
    fs::create_dir_all(&later).context("cannot make target/dist/later")?;
    deb_of_revision(LATER, &later)?;
    Ok(later.join(format!("sixgate_{version}-{LATER}_amd64.deb")))
}

/// A root file system with the packages in it.
struct Proof {
    root: PathBuf,
    /// Where a bpf file system is mounted while it runs.
    bpffs: PathBuf,
}

impl Proof {
    fn prepare(package: &Path, upgrade: &Path) -> Result<Self> {
        let archive = folder().join("bookworm.tar");
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
        fs::copy(package, proof.join("sixgate.deb")).context("cannot copy the package")?;
        fs::copy(upgrade, proof.join("upgrade.deb")).context("cannot copy the upgrade")?;
        fs::write(proof.join("proof.sh"), SCRIPT).context("cannot write the script")?;
        let units = root.join("etc/systemd/system");
        fs::write(units.join("proof.service"), UNIT).context("cannot write the unit")?;
        exec::run(
            Command::new("systemctl")
                .arg(format!("--root={}", root.display()))
                .args(["enable", "proof.service"]),
        )?;
        Ok(Self { root, bpffs: folder().join("bpf") })
    }

    /// Boots it until the script of this boot has ended.
    fn boot(&self, boot: &str) -> Result<()> {
        fs::write(self.root.join("proof/boot"), boot).context("cannot write the number of the boot")?;
        fs::create_dir_all(&self.bpffs).context("cannot make the folder of the bpf file system")?;
        // each boot has an empty one, for root alone, as systemd mounts it
        exec::run(Command::new("mount").args(["-t", "bpf", "-o", "mode=0700", "bpf"]).arg(&self.bpffs))?;
        let mut machine = Command::new("systemd-nspawn");
        machine.arg("--directory").arg(&self.root);
        machine.args(["--boot", "--quiet", "--register=no", "--keep-unit", "--private-network"]);
        machine.args(["--console=read-only", "--capability=all", "--system-call-filter=bpf perf_event_open"]);
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
const SCRIPT: &str = include_str!("proof.sh");
const INCLUDE: &str = "--include=systemd,systemd-sysv,dbus,iproute2,procps";
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
