//! CPU time: of a server's processes, of a BPF program, of the whole machine.
//!
//! It reads the kernel's accounts; the tables name the costs that these leave out.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use aya::programs::ProgramInfo;
use nix::{
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};

/// Whose processes a server is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Processes {
    /// One process, by its id.
    One(u32),
    /// A process group and its leader's children that have ended.
    Group(u32),
}

/// The run time of a BPF program since it was loaded, while the kernel counts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BpfTime {
    pub(super) time: Duration,
    pub(super) runs: u64,
}

impl Processes {
    /// User and system time so far.
    ///
    /// # Errors
    /// If a process has ended that must not.
    pub(super) fn time(self) -> Result<Duration> {
        match self {
            Self::One(pid) => own(pid),
            Self::Group(leader) => {
                // those that ended first: one that ends meanwhile is missed rather than counted
                // twice
                let ended = Stat::of(&leader.to_string())?.children();
                let running = fs::read_dir("/proc")?.filter_map(|entry| {
                    let name = entry.ok()?.file_name().into_string().ok()?;
                    let stat = name.parse::<u32>().ok().and_then(|_| Stat::of(&name).ok())?;
                    (stat.group == u64::from(leader))
                        .then(|| name.parse().ok().and_then(|pid| own(pid).ok()))?
                });
                Ok(ended + running.sum::<Duration>())
            }
        }
    }
}

/// User and system time of a process, in nanoseconds, where proc_pid_stat(5) has hundredths of a
/// second.
fn own(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()));
    let time = clock.and_then(clock_gettime).with_context(|| format!("process {pid} is gone"))?;
    Ok(time.into())
}

/// The numbers of proc_pid_stat(5) that matter here.
struct Stat {
    group: u64,
    children_user: u64,
    children_system: u64,
}

impl Stat {
    fn of(pid: &str) -> Result<Self> {
        let file = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
        // the name, in parentheses, may hold anything
        let (_, rest) = text.rsplit_once(')').with_context(|| format!("{file} is not as expected"))?;
        let fields: Vec<u64> = rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        // the state is field 3
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
        Ok(Self { group: field(5), children_user: field(16), children_system: field(17) })
    }

    fn children(&self) -> Duration {
        ticks(self.children_user + self.children_system)
    }
}

impl BpfTime {
    /// The time of the program that is pinned at `pin`.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn of_pinned(pin: &Path) -> Result<Self> {
        let info = ProgramInfo::from_pin(pin).with_context(|| format!("no program at {}", pin.display()))?;
        Ok(Self::of(&info))
    }

    /// The time of a program.
    pub(super) fn of(info: &ProgramInfo) -> Self {
        Self { time: info.run_time(), runs: info.run_count() }
    }

    /// The increase since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self { time: self.time.saturating_sub(before.time), runs: self.runs - before.runs }
    }
}

/// What all CPUs did so far, idling and waiting for disks left out.
///
/// # Errors
/// If /proc/stat cannot be read.
pub(super) fn machine() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    let all = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let fields: Vec<u64> = all.map(|field| field.parse().unwrap_or(0)).collect();
    // user nice system idle iowait irq softirq steal; guests are within user
    let busy = [0, 1, 2, 5, 6].into_iter().filter_map(|field| fields.get(field)).sum();
    Ok(ticks(busy))
}

fn ticks(count: u64) -> Duration {
    // what user space is told is always in hundredths of a second (linux: USER_HZ)
    Duration::from_millis(count * 10)
}

#[cfg(test)]
mod tests {
    use std::{
        hint::black_box,
        os::unix::process::CommandExt as _,
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn our_own_time_is_counted() {
        let own = Processes::One(std::process::id());
        let before = own.time().unwrap();
        let mut number = 0_u64;
        while own.time().unwrap() < before + Duration::from_millis(20) {
            number = black_box(number + 1);
        }
        assert!(machine().unwrap() >= Duration::from_millis(20));
    }

    #[test]
    fn a_child_that_ended_is_counted_with_its_group() {
        let mut leader = Command::new("sh")
            .args(["-c", "(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done) ; echo done; read end"])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        std::io::Read::read_exact(leader.stdout.as_mut().unwrap(), &mut said).unwrap();
        let (group, one) = (Processes::Group(leader.id()), Processes::One(leader.id()));
        assert!(group.time().unwrap() > one.time().unwrap());
        drop(leader.stdin.take());
        assert_eq!(leader.wait().unwrap().code(), Some(1));
    }
}
