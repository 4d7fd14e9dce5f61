//! Runs foreign test suites against our checks, through a real DNS server and our own resolver.
//!
//! It owns no case: the files stay where they are.

mod cases;

use std::{collections::BTreeMap, fs, net::IpAddr, num::NonZeroU8, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use sixgate_auth::{
    dns::Resolver,
    spf::{self, SpfCheck, SpfQuery},
};
use tokio::task::JoinSet;

use crate::conformance::cases::{Case, Scenario};

/// How long one question waits: cases with a silent server wait for so long.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Cases at a time.
const AT_A_TIME: usize = 8;

/// How a suite came out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// The number of cases.
    pub cases: usize,
    /// Those with a right result.
    pub right: usize,
    /// Cases for which the suite requires an explanation.
    pub explained: usize,
    /// Those that have it.
    pub rightly_explained: usize,
}

impl Summary {
    /// Whether there were cases, and nothing differs.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.cases > 0 && self.cases == self.right && self.explained == self.rightly_explained
    }
}

/// Runs every case of `file`, which is in the format of the openspf suites, and prints those that
/// differ.
///
/// # Errors
/// When the file cannot be read, or a server does not start.
pub fn spf(file: &Path) -> Result<Summary> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let scenarios = cases::read(&text).with_context(|| format!("cannot use {}", file.display()))?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start a runtime")?;
    let mut summary = Summary::default();
    for scenario in &scenarios {
        runtime.block_on(run(scenario, &mut summary)).with_context(|| scenario.description.clone())?;
    }
    let Summary { cases, right, explained, rightly_explained } = summary;
    println!("{right} of {cases}, explanations {rightly_explained} of {explained}");
    Ok(summary)
}

async fn run(scenario: &Scenario, summary: &mut Summary) -> Result<()> {
    let server = scenario.zone()?.serve().context("cannot start a DNS server")?;
    let dns = Resolver::new(&[server.address()], TIMEOUT, NonZeroU8::MIN);
    let mut found = BTreeMap::new();
    let mut running = JoinSet::new();
    for (name, case) in &scenario.tests {
        if running.len() >= AT_A_TIME {
            found.extend(running.join_next().await.transpose().context("a case ended early")?);
        }
        let evaluated = evaluate(dns.clone(), name.clone(), Arc::new(case.clone()));
        running.spawn(evaluated);
    }
    found.extend(running.join_all().await);
    for (name, case) in &scenario.tests {
        let check = found.remove(name).context("a case did not end")??;
        compare(scenario, name, case, &check, summary);
    }
    Ok(())
}

async fn evaluate(dns: Resolver, name: String, case: Arc<Case>) -> (String, Result<SpfCheck>) {
    let checked = async {
        let client: IpAddr = case.host.parse().with_context(|| format!("no address: {}", case.host))?;
        let mail_from = Some(case.mailfrom.as_str()).filter(|path| !path.is_empty());
        let query = SpfQuery {
            client,
            helo: &case.helo,
            mail_from,
            host_name: "gate.example",
            voids: spf::VoidTerms::DEFAULT,
        };
        Ok(spf::check(&dns, &query).await.mail_from)
    };
    (name, checked.await)
}

fn compare(scenario: &Scenario, name: &str, case: &Case, check: &SpfCheck, summary: &mut Summary) {
    let got = check.result.text();
    let right = case.results().iter().any(|result| result == got);
    summary.cases += 1;
    summary.right += usize::from(right);
    if !right {
        println!(
            "{} / {name}: wanted {}, got {got} ({})",
            scenario.description,
            case.results().join(" or "),
            check.why()
        );
        scenario.texts(&check.domain).iter().for_each(|text| println!("    {}: {text}", check.domain));
    }
    let Some(wanted) = case.explanation() else {
        return;
    };
    let right = check.explanation.as_deref() == wanted;
    summary.explained += 1;
    summary.rightly_explained += usize::from(right);
    if !right {
        println!(
            "{} / {name}: wanted explanation {wanted:?}, got {:?}",
            scenario.description, check.explanation
        );
    }
}
