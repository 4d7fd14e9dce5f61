//! One virtual machine: QEMU with its kernel, its memory and its cards, two on each wire, from its
//! start to its end.
//!
//! It reads what the guest reports and keeps the console; what a report means is judged in
//! `report`.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{Card, Suite};
use crate::exec;

/// The parts of a machine.
pub(super) struct Machine<'a> {
    pub(super) image: &'a Path,
    pub(super) initramfs: PathBuf,
    /// Where the console goes, and stays.
    pub(super) console: PathBuf,
    pub(super) card: Card,
    pub(super) suites: &'a [Suite],
    /// Of suites with tests of their own only those whose name contains this.
    pub(super) filter: Option<&'a str>,
}

/// How a machine ended, and what it reported until then.
pub(super) struct Ended {
    pub(super) lines: Vec<String>,
    pub(super) timed_out: bool,
    pub(super) took: Duration,
}

impl Machine<'_> {
    /// Boots it and waits for its end; `tell` is told each line of the report as it comes.
    pub(super) fn run(&self, tell: &dyn Fn(&str)) -> Result<Ended> {
        let mut command = self.command();
        let shown = exec::shown(&command);
        eprintln!("$ {shown}");
        let started = Instant::now();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        let child = child.with_context(|| format!("cannot start `{shown}`"))?;
        let mut running = QemuProcess(child);
        let stdout = running.0.stdout.take().context("QEMU has no standard output")?;
        let deadline =
            started + self.suites.iter().map(|suite| suite.timeout()).sum::<Duration>() + BOOT_TIMEOUT;
        let (lines, timed_out) = collect(stdout, deadline, tell);
        if !timed_out {
            running.0.wait().context("cannot wait for QEMU")?;
        }
        Ok(Ended { lines, timed_out, took: started.elapsed() })
    }

    /// The first serial port is the console, in a file; the second one carries the report, on
    /// standard output.
    fn command(&self) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        // never KVM: in a virtual machine of somebody else's it may be there and not work, and what
        // is emulated is the same on each host
        qemu.args(["-machine", "q35", "-accel", "tcg", "-cpu", "max"]);
        qemu.args(["-smp", PROCESSORS, "-m", MEMORY, "-display", "none", "-no-reboot", "-nodefaults"]);
        qemu.arg("-kernel").arg(self.image).arg("-initrd").arg(&self.initramfs);
        qemu.arg("-serial").arg(format!("file:{}", self.console.display())).args(["-serial", "stdio"]);
        // their order is that of the hardware addresses
        for (wire, end) in (0..WIRES).flat_map(|wire| [(wire, 0), (wire, 1)]) {
            let (id, device) = (format!("wire{wire}end{end}"), self.card.device());
            qemu.arg("-netdev").arg(format!("hubport,id={id},hubid={wire}"));
            qemu.arg("-device").arg(format!("{device},netdev={id},mac=52:54:00:00:{wire:02}:{end:02}"));
        }
        let suites: Vec<String> = self.suites.iter().map(Suite::to_string).collect();
        let mut line = format!(
            "console=ttyS0 loglevel=4 panic=-1 SIXGATE_VM_SUITES={} SIXGATE_TEST_TIME_SCALE={TIME_SCALE}",
            suites.join(",")
        );
        if let Some(filter) = self.filter {
            line += &format!(" SIXGATE_VM_FILTER={filter}");
        }
        qemu.arg("-append").arg(line);
        qemu
    }

    /// The last lines of the console.
    pub(super) fn console_tail(&self) -> String {
        tail(&self.console).unwrap_or_else(|error| format!("cannot read the console: {error}"))
    }
}

/// A QEMU that does not outlive us.
struct QemuProcess(Child);

impl Drop for QemuProcess {
    fn drop(&mut self) {
        // both fail only if it has ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of the report until it ends, or until `deadline`; whether that came first.
fn collect(report: ChildStdout, deadline: Instant, tell: &dyn Fn(&str)) -> (Vec<String>, bool) {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(report).take(REPORT_MAX);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    let mut lines = Vec::new();
    loop {
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                tell(&line);
                lines.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => return (lines, false),
            Err(RecvTimeoutError::Timeout) => return (lines, true),
        }
    }
}

fn tail(file: &Path) -> std::io::Result<String> {
    let length = fs::metadata(file)?.len();
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(length.saturating_sub(CONSOLE_TAIL)))?;
    let mut octets = Vec::new();
    file.read_to_end(&mut octets)?;
    Ok(String::from_utf8_lossy(&octets).replace('\r', ""))
}

/// Emulated processors of a machine: two, so that what two of them do at a time is seen.
const PROCESSORS: &str = "2";
/// Wires, each with a card at both ends: two, so that a bond has two slaves.
const WIRES: u8 = 2;
/// Memory of a machine: the initramfs twice, the maps of 16 daemons, the verifier.
const MEMORY: &str = "3G";
/// From the start of QEMU to the first suite, on a busy host.
const BOOT_TIMEOUT: Duration = Duration::from_secs(120);
/// How many times longer than on real processors waits may take, as `sixgate_tests::timeouts` reads
/// it.
const TIME_SCALE: u32 = 10;
/// Octets of the console that are shown when a machine failed.
const CONSOLE_TAIL: u64 = 4096;
/// Octets of a report that are read.
const REPORT_MAX: u64 = 16 * 1024 * 1024;
