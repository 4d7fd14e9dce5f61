//! Whole sessions over a real link: how many a second, and what each costs the server.
//!
//! The servers run in rotation, so that a disturbance of the machine affects all of them.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use aya::sys::{Stats, enable_stats};

use super::{
    Scale, load,
    peers::{Peer, Server},
    report::{Report, Row, Section, Verdict, median},
    usage::{self, BpfTime},
};

/// Measures every server that is there and adds three tables.
///
/// # Errors
/// If a session does not go as it should.
pub(super) fn measure(scale: Scale, report: &mut Report) -> Result<()> {
    // the kernel counts as long as this is open
    let _counting = enable_stats(Stats::RunTime)?;
    let mut runners: Vec<Runner> = Peer::ALL.into_iter().map(Runner::new).collect();
    for _ in 0..scale.rounds {
        runners.iter_mut().try_for_each(|runner| runner.turn(scale.sessions))?;
    }
    runners.iter_mut().try_for_each(Runner::end)?;
    let find = |peer| runners.iter().find(|runner| runner.peer == peer);
    if let (Some(kernel), Some(postscreen)) = (find(Peer::Kernel), find(Peer::Postscreen)) {
        report.verdicts.extend(verdicts(kernel, postscreen));
        report.sections.push(servers(&runners, postscreen, scale));
        report.sections.push(packets(&runners));
        report.sections.push(beside_postscreen(&runners, postscreen));
    }
    Ok(())
}

/// A server and its rounds.
///
/// A round ends [`SETTLE`] after its last session, so that what a server still does then is its
/// own. What it does while the others have theirs is what it does without a client, and is
/// subtracted by the time that the round took.
struct Runner {
    peer: Peer,
    server: Result<Server>,
    turns: Vec<Turn>,
    /// CPU time between rounds, and how long that was.
    idle: Duration,
    idled: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    processes: Duration,
    bpf: BpfTime,
    pass: BpfTime,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    sessions: f64,
    seconds: f64,
    machine: Duration,
    before: Reading,
    after: Reading,
}

/// What one session costs the server, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Cost {
    bpf: f64,
    processes: f64,
}

impl Runner {
    fn new(peer: Peer) -> Self {
        let (idle, idled) = (Duration::ZERO, Duration::ZERO);
        Self { peer, server: peer.start(), turns: Vec::new(), idle, idled }
    }

    fn turn(&mut self, sessions: usize) -> Result<()> {
        self.end()?;
        let Ok(server) = &self.server else {
            return Ok(());
        };
        let (before, machine) = (Reading::of(server)?, usage::machine()?);
        let Server { site, sources, destination, script, .. } = server;
        let time = load::play(&site.outside, sources, *destination, script, sessions)
            .map_err(|error| error.context(self.peer.name()))?;
        let machine = usage::machine()? - machine;
        wait(SETTLE);
        let after = Reading::of(server)?;
        let (sessions, seconds) = (sessions as f64, time.as_secs_f64());
        self.turns.push(Turn { sessions, seconds, machine, before, after });
        Ok(())
    }

    /// Ends the time without a client since the last round.
    fn end(&mut self) -> Result<()> {
        if let (Ok(server), Some(last)) = (&self.server, self.turns.last()) {
            let now = Reading::of(server)?;
            self.idle += now.processes.saturating_sub(last.after.processes);
            self.idled += now.at - last.after.at;
        }
        Ok(())
    }

    /// CPU time of the processes without a client, as a part of the time.
    fn idle(&self) -> f64 {
        if self.idled.is_zero() { 0.0 } else { self.idle.as_secs_f64() / self.idled.as_secs_f64() }
    }

    /// The cost of each round.
    fn costs(&self) -> impl Iterator<Item = Cost> {
        let idle = self.idle();
        self.turns.iter().map(move |Turn { sessions, before, after, .. }| {
            let processes = micros(after.processes.saturating_sub(before.processes));
            let without_client = idle * micros(after.at - before.at);
            Cost {
                bpf: micros(after.bpf.since(before.bpf).time) / sessions,
                processes: (processes - without_client).max(0.0) / sessions,
            }
        })
    }

    /// The median of `figure` over the rounds.
    fn middle(&self, figure: impl Fn(&Turn) -> f64) -> Option<f64> {
        median(self.turns.iter().map(figure))
    }

    /// The median of the rounds' ratios of this server's cost to another server's.
    fn ratio_to(&self, other: &Self, ours: impl Fn(Cost) -> f64) -> Option<f64> {
        // a round of few sessions may take no tick of the clock that processes are counted in
        let turns = self.costs().zip(other.costs()).filter(|(_, peer)| peer.sum() > 0.0);
        median(turns.map(|(cost, peer)| ours(cost) / peer.sum()))
    }
}

impl Reading {
    fn of(server: &Server) -> Result<Self> {
        let (processes, bpf, pass) = (server.processes.time()?, server.bpf()?, server.pass()?);
        Ok(Self { at: Instant::now(), processes, bpf, pass })
    }
}

impl Cost {
    fn sum(self) -> f64 {
        self.bpf + self.processes
    }
}

fn verdicts(kernel: &Runner, postscreen: &Runner) -> [Verdict; 3] {
    let bpf = kernel.ratio_to(postscreen, |cost| cost.bpf);
    let sum = kernel.ratio_to(postscreen, Cost::sum);
    [
        Verdict {
            what: "a session refused by the kernel to one by postscreen",
            ratio: bpf,
            target: SESSION_MAX,
        },
        Verdict { what: "the same, the stretch target", ratio: bpf, target: SESSION_STRETCH },
        Verdict {
            what: "the same with what the daemon does meanwhile (its log)",
            ratio: sum,
            target: SESSION_MAX,
        },
    ]
}

fn servers(runners: &[Runner], postscreen: &Runner, scale: Scale) -> Section {
    let mut notes = vec![format!(
        "{} sessions in each of {} rounds, {} at a time, by one client program that compares every octet of every \
         reply; client and server are on one machine, so sessions/s is what both can do together.",
        scale.sessions,
        scale.rounds,
        load::AT_A_TIME
    )];
    notes.extend(NOTES.map(str::to_owned));
    let configurations = runners.iter().map(|runner| {
        let settings = runner.peer.configuration().replace('\n', "; ");
        format!("{}: {settings}", runner.peer.name())
    });
    notes.extend(configurations);
    let row = |runner: &Runner| match &runner.server {
        Err(error) => Row::missing(runner.peer.name(), format!("{error:#}")),
        Ok(_) => Row::numbers(
            runner.peer.name(),
            [
                runner.middle(|turn| turn.sessions / turn.seconds),
                median(runner.costs().map(|cost| cost.bpf)),
                median(runner.costs().map(|cost| cost.processes)),
                runner.ratio_to(postscreen, Cost::sum).map(|ratio| 1.0 / ratio),
                runner.middle(|turn| micros(turn.machine) / turn.sessions),
            ],
        ),
    };
    Section {
        title: "A refused session, by who refuses (native veth, whole dialogue: EHLO, MAIL, RCPT, QUIT)",
        columns: SERVER_COLUMNS.to_vec(),
        rows: runners.iter().map(row).collect(),
        notes,
    }
}

/// The cost of a packet under real load.
fn packets(runners: &[Runner]) -> Section {
    let rows = runners
        .iter()
        .filter(|runner| matches!(runner.peer, Peer::Kernel | Peer::KernelNetworks | Peer::Daemon));
    let row = |runner: &Runner| {
        if let Err(error) = &runner.server {
            return Row::missing(runner.peer.name(), format!("{error:#}"));
        }
        let turns = || {
            let turns = runner.turns.iter();
            turns.map(|Turn { before, after, .. }| {
                (after.bpf.since(before.bpf), after.pass.since(before.pass))
            })
        };
        let each = |bpf: BpfTime| bpf.time.as_nanos() as f64 / bpf.runs as f64;
        let sessions = runner.middle(|turn| turn.sessions).unwrap_or(f64::NAN);
        Row::numbers(
            runner.peer.name(),
            [
                median(turns().map(|(bpf, _)| bpf.runs as f64 / sessions)),
                median(turns().map(|(bpf, _)| each(bpf))),
                median(turns().map(|(_, pass)| each(pass))),
                median(turns().map(|(bpf, pass)| each(bpf) / each(pass))),
            ],
        )
    };
    Section {
        title: "A packet under real load (bpf_stats_enabled)",
        columns: vec!["server", "packets a session", "ns each", "ns each, empty program", "x empty"],
        rows: rows.map(row).collect(),
        notes: vec![
            "The empty program is the one at the other end of the link; counting costs both the same."
                .to_owned(),
        ],
    }
}

/// The time of the kernel and of the daemon for a session that the kernel refuses, as a part of
/// postscreen's.
fn beside_postscreen(runners: &[Runner], postscreen: &Runner) -> Section {
    let mut rows = Vec::new();
    let mut add = |name: String, runner: &Runner, part: fn(Cost) -> f64| {
        let ratio = runner.ratio_to(postscreen, part);
        let figures = [median(runner.costs().map(part)), ratio, ratio.map(|ratio| 1.0 / ratio)];
        rows.push(Row::numbers(name, figures));
    };
    for runner in runners.iter().filter(|runner| runner.server.is_ok()) {
        let name = match runner.peer {
            Peer::Kernel => "one network",
            Peer::KernelNetworks => "256 networks",
            Peer::Daemon | Peer::Postscreen | Peer::Smtpd => continue,
        };
        add(format!("BPF, {name}"), runner, |cost| cost.bpf);
        add(format!("daemon, {name}"), runner, |cost| cost.processes);
        add(format!("both, {name}"), runner, Cost::sum);
    }
    add("postscreen".to_owned(), postscreen, Cost::sum);
    let idle = runners.iter().filter(|runner| runner.server.is_ok()).map(|runner| {
        format!("{}: {:.0} us of CPU a second without a client", runner.peer.name(), runner.idle() * 1e6)
    });
    let notes = BESIDE_NOTES.map(str::to_owned).into_iter().chain(idle);
    Section {
        title: "A session that the kernel refuses, by who spends the time (utime + stime for processes)",
        columns: vec!["who", "us a session", "x postscreen", "times cheaper"],
        rows,
        notes: notes.collect(),
    }
}

/// A park may end early.
fn wait(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::park_timeout(left);
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Targets of this part.
const SESSION_MAX: f64 = 1.0 / 25.0;
const SESSION_STRETCH: f64 = 1.0 / 50.0;
/// More than the daemon's pause between two looks at the program's records, and its time for them.
const SETTLE: Duration = Duration::from_millis(1200);

const SERVER_COLUMNS: [&str; 6] =
    ["server", "sessions/s", "BPF us", "processes us", "times cheaper than postscreen", "whole machine us"];

const NOTES: [&str; 3] = [
    "BPF: run time of the XDP program. processes: user and system time of all of the server's processes, those that \
     ended included. Neither is meant to hold softirq work (TCP below the sockets, delivery over the link), which the \
     kernel does in the time of any process it finds; without CONFIG_IRQ_TIME_ACCOUNTING some of it is booked on processes.",
    "whole machine: everything that was not idle while the client ran, client, softirq and other processes included; \
     sampled by the timer tick, and worth something on an otherwise idle machine only.",
    "times cheaper: BPF and processes together, against postscreen's in the same round.",
];

const BESIDE_NOTES: [&str; 2] = [
    "The program reports 64 ends a second of one network, and the daemon logs fewer: from one network almost all \
     sessions are counted only; from 256 networks almost all are reported.",
    "The daemon's time is that of its process from before the first session until 1.2 s after the last one, less what \
     it takes in that time without a client.",
];
