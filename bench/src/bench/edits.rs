//! The cost of changing one prefix among many, and its effect on sessions.
//!
//! A daemon runs and the program is attached. The command's CPU time is the kernel's account of a
//! process that has ended; that of the daemon, which follows, is not in it.

use std::{
    fmt::Write as _,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike as _},
};

use super::{
    Scale,
    report::{Report, Row, Section, Verdict, median},
};
use sixgate_tests::{
    client::Client,
    site::{GATE, INTERFACE, SENDER, Site},
};

/// Measures each of the scale's sizes and adds a table.
///
/// # Errors
/// If something cannot be set up, a command fails, or a session is not answered as promised.
pub(super) fn measure(scale: Scale, report: &mut Report) -> Result<()> {
    let mut rows = Vec::new();
    let mut sizes = Vec::new();
    let mut base = None;
    let mut most = None;
    for size in scale.prefixes {
        let found = most.insert(measure_among(*size, scale.rounds)?);
        let add = median(found.add.iter().copied());
        let base = *base.get_or_insert_with(|| add.unwrap_or(f64::NAN));
        rows.push(Row::numbers(
            size.to_string(),
            [
                add,
                median(found.remove.iter().copied()),
                add.map(|add| add / base),
                median(found.second.iter().copied()),
                Some(found.wait_idle),
                Some(found.wait_edit),
                Some(found.load),
                Some(found.wait_load),
            ],
        ));
        sizes.push(Row::numbers(size.to_string(), found.memory.map(Some)));
    }
    report.verdicts.extend(most.iter().flat_map(Found::verdicts));
    report.sections.push(Section {
        title: "One prefix is added and removed among others, with a daemon and the program attached",
        columns: COLUMNS.to_vec(),
        rows,
        notes: NOTES.map(str::to_owned).to_vec(),
    });
    report.sections.push(Section {
        title: "What they take",
        columns: SIZE_COLUMNS.to_vec(),
        rows: sizes,
        notes: vec![SIZE_NOTE.to_owned()],
    });
    Ok(())
}

/// The measurements among so many prefixes: times in milliseconds, sizes in MiB.
#[derive(Default)]
struct Found {
    add: Vec<f64>,
    remove: Vec<f64>,
    second: Vec<f64>,
    wait_idle: f64,
    wait_edit: f64,
    load: f64,
    wait_load: f64,
    /// As [`SIZE_COLUMNS`] has them.
    memory: [f64; 4],
}

impl Found {
    /// Of the largest number of prefixes that was measured.
    fn verdicts(&self) -> [Verdict; 2] {
        [
            Verdict {
                what: "CPU time of `optin add` among the most prefixes to 50 ms",
                ratio: median(self.add.iter().copied()).map(|add| add / ADD_MAX),
                target: 1.0,
            },
            Verdict {
                what: "the longest wait for a reply during edits among them to 20 ms",
                ratio: Some(self.wait_edit / WAIT_MAX),
                target: 1.0,
            },
        ]
    }
}

fn measure_among(size: usize, rounds: usize) -> Result<Found> {
    let site = Site::new(ZONE, &format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    site.sixgate("domain add contoso.com");
    site.sixgate(&format!("optin add {GATE}"));
    // reverse DNS and SPF are not part of it
    site.sixgate(&format!("trust add {SENDER}"));
    let daemon = site.serve(&[]);
    let mut list = format!("{GATE}\n");
    (1..size).try_for_each(|at| writeln!(list, "3fff:{:x}:{:x}::/64", at >> 16, at & 0xffff))?;
    let file = site.folder().join("prefixes");
    fs::write(&file, list).with_context(|| format!("cannot write {}", file.display()))?;
    let mut found = Found::default();
    let load = format!("optin load --quiet {}", file.display());
    let log = || format!("among {size} prefixes; the daemon's log: {}", daemon.log());
    found.wait_idle = longest_wait(&site, || {
        let end = Instant::now() + IDLE;
        // a park may end early
        while Instant::now() < end {
            thread::park_timeout(IDLE);
        }
        Ok(())
    })
    .with_context(log)?;
    found.wait_load = longest_wait(&site, || {
        found.load = milliseconds(|| site.sixgate(&load));
        Ok(())
    })
    .with_context(log)?;
    found.wait_edit = longest_wait(&site, || {
        for _ in 0..rounds {
            found.add.push(cpu(|| site.sixgate(ADD))?);
            found.second.push(milliseconds(|| site.sixgate("optin add --out 3fff:fff:2::/64")));
            found.remove.push(cpu(|| site.sixgate("optin remove 3fff:fff:1::/64"))?);
            site.sixgate("optin remove 3fff:fff:2::/64");
        }
        Ok(())
    })
    .with_context(log)?;
    site.sixgate("status --verify");
    let of_store =
        |name: &str| Ok::<_, anyhow::Error>(fs::metadata(site.folder().join(name))?.len() as f64 / MIB);
    found.memory = [
        resident(daemon.pid(), "VmRSS")?,
        resident(daemon.pid(), "VmHWM")?,
        of_store("store.db")?,
        of_store("store.db-wal")?,
    ];
    daemon.stop()?;
    Ok(found)
}

/// The longest time that a reply took while `work` was done, in milliseconds.
fn longest_wait(site: &Site, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let is_over = AtomicBool::new(false);
    let mut sessions = Sessions::open(site)?;
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                longest = longest.max(sessions.transaction()?);
            }
            Ok(longest)
        });
        let done = work();
        is_over.store(true, Ordering::Relaxed);
        let longest: Result<Duration> = asking.join().expect("the asking thread does not panic");
        let longest = longest?;
        done.map(|()| longest.as_secs_f64() * 1000.0)
    })
}

/// A sender that begins a transaction after the other, and a session after the other: one session
/// may not have many without a message.
struct Sessions<'a> {
    site: &'a Site,
    client: Client,
    transactions: usize,
}

impl<'a> Sessions<'a> {
    fn open(site: &'a Site) -> Result<Self> {
        let mut sessions = Self { site, client: site.connect(SENDER, GATE), transactions: 0 };
        sessions.greet()?;
        Ok(sessions)
    }

    /// A transaction that comes to nothing; the longest time that a reply took, the next session's
    /// greeting included.
    fn transaction(&mut self) -> Result<Duration> {
        let mut longest = Duration::ZERO;
        if self.transactions == TRANSACTIONS {
            self.expect("QUIT", 221)?;
            let start = Instant::now();
            self.client = self.site.connect(SENDER, GATE);
            self.greet()?;
            longest = start.elapsed();
            self.transactions = 0;
        }
        self.transactions += 1;
        for line in ["MAIL FROM:<a@sender.example>", "RCPT TO:<user@contoso.com>", "RSET"] {
            longest = longest.max(self.expect(line, 250)?);
        }
        Ok(longest)
    }

    fn greet(&mut self) -> Result<()> {
        let code = self.client.reply()?.code;
        ensure!(code == 220, "{code} is the greeting");
        self.expect("HELO mail.sender.example", 250).map(drop)
    }

    fn expect(&mut self, line: &str, wanted: u16) -> Result<Duration> {
        let start = Instant::now();
        let reply = self.client.say(line).with_context(|| format!("no reply to {line:?}"))?;
        ensure!(reply.code == wanted, "{:?} is the reply to {line:?}", reply.last());
        Ok(start.elapsed())
    }
}

/// Memory of a process, by its line `name` of proc_pid_status(5).
fn resident(pid: u32, name: &str) -> Result<f64> {
    let file = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).with_context(|| format!("no {name} in {file}"))
}

/// CPU time of the processes that `task` starts and waits for, in milliseconds.
fn cpu<T>(task: impl FnOnce() -> T) -> Result<f64> {
    let spent = || -> Result<TimeVal> {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
        Ok(usage.user_time() + usage.system_time())
    };
    let before = spent()?;
    task();
    Ok((spent()? - before).num_microseconds() as f64 / 1000.0)
}

fn milliseconds<T>(task: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    task();
    start.elapsed().as_secs_f64() * 1000.0
}

const ZONE: &str = "";
/// Of one session: below the bound for commands that come to no message (docs/limits.md).
const TRANSACTIONS: usize = 25;
const ADD: &str = "optin add 3fff:fff:1::/64";

/// How long replies are timed while no command runs.
const IDLE: Duration = Duration::from_secs(2);
const MIB: f64 = 1024.0 * 1024.0;
/// Targets, in milliseconds.
const ADD_MAX: f64 = 50.0;
const WAIT_MAX: f64 = 20.0;

const COLUMNS: [&str; 9] = [
    "prefixes",
    "add CPU ms",
    "remove CPU ms",
    "x 1 prefix",
    "second ms",
    "longest reply ms",
    "in edits ms",
    "load ms",
    "in load ms",
];

const SIZE_COLUMNS: [&str; 5] = ["prefixes", "daemon MiB", "at most MiB", "store MiB", "its log MiB"];
const SIZE_NOTE: &str =
    "daemon: resident after the edits, and at most since its start. log: the store's write-ahead log.";

const NOTES: [&str; 3] = [
    "add, remove: user and system time of `sixgate optin add`, `remove` of one prefix, median of the rounds; second: the time of \
     another `optin add` right after it.",
    "longest reply: to any command, or the next greeting, of one sender whose sessions go on: while no command runs, during \
     the edits, and during the load. A machine whose CPUs are all busy shows its scheduler in all three.",
    "load: `sixgate optin load` of all of them into an empty store and map, with the daemon running.",
];
