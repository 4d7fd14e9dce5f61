//! Compares our checks with those of others over generated cases.
//!
//! The right result in a kind of difference is decided once, by a person; the documents list the
//! kinds.

mod dkim;
mod generate;
mod judge;

use std::{
    collections::BTreeMap,
    fmt,
    io::{Seek as _, Write as _},
    net::IpAddr,
    num::NonZeroU8,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use sixgate_auth::{
    dns::Resolver,
    spf::{self, SpfCheck, SpfQuery, SpfResult},
};

pub use dkim::dkim;

use crate::differential::generate::{Case, Generator};

/// How long one question waits; the servers answer at once.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Cases that share a server, a resolver and a Python.
const AT_A_TIME: usize = 200;
/// What stands for the time in an explanation; pyspf.py has it, too.
const TIME: &str = "TIME";
const PYSPF: &str = include_str!("pyspf.py");

/// The result of the other evaluator.
#[derive(Clone, Debug, Deserialize)]
struct Theirs {
    result: String,
    said: String,
    explanation: Option<String>,
}

/// Judges `count` cases made from `seed` here and by the pyspf of `python`, and prints how often
/// they differ and why, and each difference that is not judged yet. True if there was none of
/// these.
///
/// # Errors
/// When a server or the other evaluator does not run.
pub fn spf(python: &Path, seed: u64, count: u32) -> Result<bool> {
    let runtime = tokio::runtime::Runtime::new().context("cannot start a runtime")?;
    let mut tally = Tally::default();
    let mut generator = Generator::new(seed);
    for first in (0..count).step_by(AT_A_TIME) {
        let (cases, zone) = generator.cases(first..count.min(first + AT_A_TIME as u32))?;
        let _inside = runtime.enter();
        let server = zone.serve().context("cannot start a DNS server")?;
        let theirs = ask_pyspf(python, server.address().port(), &cases)?;
        let dns = Resolver::new(&[server.address()], TIMEOUT, NonZeroU8::MIN);
        for (case, theirs) in cases.iter().zip(&theirs) {
            tally.add(case, &runtime.block_on(evaluate(&dns, case)), theirs);
        }
    }
    println!("{tally}\nnot judged: {}, of {count} cases from seed {seed}", tally.unjudged);
    ensure!(count > 0, "nothing was compared");
    Ok(tally.unjudged == 0)
}

/// How the cases came out.
#[derive(Default)]
struct Tally {
    same: BTreeMap<&'static str, usize>,
    judged: BTreeMap<&'static str, usize>,
    unjudged: usize,
}

impl Tally {
    /// Counts a case, and prints a difference that is not judged.
    fn add(&mut self, case: &Case, ours: &SpfCheck, theirs: &[Theirs; 2]) {
        let [plain, mended] = theirs;
        if plain.agrees_with(ours) {
            *self.same.entry(ours.result.text()).or_default() += 1;
        } else if let Some(judgement) = judge::judge(ours, plain, mended) {
            *self.judged.entry(judgement).or_default() += 1;
        } else {
            self.unjudged += 1;
            println!("{}", shown(case, ours, theirs));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, counts) in [("the same", &self.same), ("judged", &self.judged)] {
            write!(f, "{title}:")?;
            counts.iter().try_for_each(|(name, count)| write!(f, "\n  {count:>6} {name}"))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Theirs {
    /// Whether result and, for a fail, explanation are the same.
    fn agrees_with(&self, ours: &SpfCheck) -> bool {
        let explained_alike = ours.result != SpfResult::Fail || ours.explanation == self.explanation;
        ours.result.text() == self.result && explained_alike
    }
}

/// The result of sixgate. The seconds of `%{t}`, which are others for each evaluator, are [`TIME`]
/// in the explanation.
async fn evaluate(dns: &Resolver, case: &Case) -> SpfCheck {
    let query = SpfQuery {
        client: case.client,
        helo: &case.helo,
        mail_from: Some(&case.sender),
        host_name: "gate.example",
        // as pyspf does
        voids: spf::VoidTerms { count_missing_family: true, ..spf::VoidTerms::DEFAULT },
    };
    let begun = seconds_since_1970();
    let mut check = spf::check(dns, &query).await.mail_from;
    for second in begun..=seconds_since_1970() {
        check.explanation = check.explanation.map(|text| text.replace(&second.to_string(), TIME));
    }
    check
}

fn seconds_since_1970() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// Runs the whole list through one Python, as it takes long to start.
fn ask_pyspf(python: &Path, port: u16, cases: &[Case]) -> Result<Vec<[Theirs; 2]>> {
    let mut input = tempfile::tempfile().context("cannot make a file")?;
    writeln!(input, "{port}").context("cannot write cases")?;
    for case in cases {
        writeln!(input, "{}", serde_json::to_string(case)?).context("cannot write cases")?;
    }
    input.rewind().context("cannot write cases")?;
    let mut command = Command::new(python);
    command.args(["-c", PYSPF]).stdin(input).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot start {}", python.display()))?;
    ensure!(output.status.success(), "pyspf failed ({})", output.status);
    let lines = str::from_utf8(&output.stdout).context("pyspf did not print text")?.lines();
    let theirs =
        lines.map(serde_json::from_str).collect::<Result<Vec<_>, _>>().context("pyspf did not print JSON")?;
    ensure!(theirs.len() == cases.len(), "pyspf judged {} of {} cases", theirs.len(), cases.len());
    Ok(theirs)
}

fn shown(case: &Case, ours: &SpfCheck, [plain, mended]: &[Theirs; 2]) -> String {
    let Case { client, sender, helo, world } = case;
    let family = if matches!(client, IpAddr::V4(_)) { "IPv4" } else { "IPv6" };
    format!(
        "{sender} from {client} ({family}), helo {helo}\n  ours:   {} ({}) {:?}\n  theirs: {plain}\n  mended: {mended}\n{world}",
        ours.result.text(),
        ours.why(),
        ours.explanation,
    )
}

impl fmt::Display for Theirs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}) {:?}", self.result, self.said, self.explanation)
    }
}
