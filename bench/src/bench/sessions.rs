//! Whole sessions over a real link: how many a second, and what each costs the server.
//!
//! The servers run in rotation, so that a disturbance of the machine affects all of them.

use std::time::Duration;

use anyhow::Result;
use aya::sys::{Stats, enable_stats};

use super::{
    Scale, load,
    peers::{Peer, Server},
    report::{Report, Row, Section, Verdict, median},
    usage::{self, BpfTime},
};

/// Measures every server that is there and adds two tables.
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
    runners.iter_mut().try_for_each(Runner::read)?;
    let find = |peer| runners.iter().find(|runner| runner.peer == peer);
    if let (Some(kernel), Some(postscreen)) = (find(Peer::Kernel), find(Peer::Postscreen)) {
        report.verdicts.extend(verdicts(kernel, postscreen));
        report.sections.push(servers(&runners, postscreen, scale));
        report.sections.push(packets(&runners));
    }
    Ok(())
}

/// A server, and the readings before each of its rounds and after the last.
///
/// A round's cost is the difference of two readings, so that what a server still does when its
/// clients have gone is its own.
struct Runner {
    peer: Peer,
    server: Result<Server>,
    readings: Vec<Reading>,
    turns: Vec<Turn>,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    processes: Duration,
    bpf: BpfTime,
    pass: BpfTime,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    sessions: f64,
    seconds: f64,
    machine: Duration,
}

/// What one session costs the server, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Cost {
    bpf: f64,
    processes: f64,
}

impl Runner {
    fn new(peer: Peer) -> Self {
        Self { peer, server: peer.start(), readings: Vec::new(), turns: Vec::new() }
    }

    fn turn(&mut self, sessions: usize) -> Result<()> {
        self.read()?;
        let Ok(server) = &self.server else {
            return Ok(());
        };
        let before = usage::machine()?;
        let time = load::play(&server.site.outside, server.destination, &server.script, sessions)
            .map_err(|error| error.context(self.peer.name()))?;
        let machine = usage::machine()? - before;
        self.turns.push(Turn { sessions: sessions as f64, seconds: time.as_secs_f64(), machine });
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        if let Ok(server) = &self.server {
            let processes = server.processes.time()?;
            self.readings.push(Reading { processes, bpf: server.bpf()?, pass: server.pass()? });
        }
        Ok(())
    }

    /// The cost of each round.
    fn costs(&self) -> impl Iterator<Item = Cost> {
        self.readings.windows(2).zip(&self.turns).map(|(pair, turn)| Cost {
            bpf: micros(pair[1].bpf.since(pair[0].bpf).time) / turn.sessions,
            processes: micros(pair[1].processes - pair[0].processes) / turn.sessions,
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
    let rows = runners.iter().filter(|runner| matches!(runner.peer, Peer::Kernel | Peer::Daemon));
    let row = |runner: &Runner| {
        if let Err(error) = &runner.server {
            return Row::missing(runner.peer.name(), format!("{error:#}"));
        }
        let turns = || {
            let pairs = runner.readings.windows(2);
            pairs.map(|pair| (pair[1].bpf.since(pair[0].bpf), pair[1].pass.since(pair[0].pass)))
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

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Targets of this part.
const SESSION_MAX: f64 = 1.0 / 50.0;
const SESSION_STRETCH: f64 = 1.0 / 100.0;

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
