//! The statistics at one moment, as the page and `sixgate top` take them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{percentiles::Distributions, totals::Timing};

/// Everything at one moment. Daemon and command may be of different versions: what one of them
/// does not know is left out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Snapshot {
    pub(crate) health: Health,
    pub(crate) hour: Period,
    pub(crate) day: Period,
    /// Networks of clients with most sessions in the last day.
    pub(crate) sources: Vec<TopRow>,
    /// The same of the addresses that they connected to.
    pub(crate) destinations: Vec<TopRow>,
    /// Sessions that the lists lack.
    pub(crate) missed: u64,
    /// Refusals that are kept.
    pub(crate) kept: usize,
    /// Of these, those that were searched for.
    pub(crate) found: usize,
    /// The newest first.
    pub(crate) recent: Vec<RefusalRow>,
}

/// How the daemon is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Health {
    pub(crate) hostname: String,
    pub(crate) version: String,
    /// `enforce` or `shadow`.
    pub(crate) mode: String,
    /// Now, and when the daemon started, RFC 3339.
    pub(crate) now: String,
    pub(crate) since: String,
    /// Sessions that are open.
    pub(crate) open: u32,
    pub(crate) is_xdp_attached: bool,
    /// All problems, as sentences.
    pub(crate) problems: Vec<String>,
    pub(crate) next_hop_problem: Option<String>,
    pub(crate) dns_problem: Option<String>,
}

/// Some intervals of one length, the oldest first.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Period {
    /// Length of one, in seconds.
    pub(crate) bar_seconds: u64,
    pub(crate) delivered: Vec<u64>,
    pub(crate) refused: Vec<BTreeMap<String, u64>>,
    pub(crate) shadow: Vec<u64>,
    /// Of all together.
    pub(crate) dns: Timing,
    pub(crate) next_hop: Timing,
    pub(crate) times: Distributions,
}

/// A row of a top list.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TopRow {
    pub(crate) name: String,
    pub(crate) sessions: u64,
    /// Of these, those with a refusal.
    pub(crate) refused: u64,
}

/// A refusal. Its texts are cut, and have no character that would change how others are shown.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct RefusalRow {
    /// When the session ended, RFC 3339.
    pub(crate) at: String,
    pub(crate) id: String,
    pub(crate) source: String,
    pub(crate) client_name: Option<String>,
    pub(crate) helo: Option<String>,
    pub(crate) destination: String,
    pub(crate) command: String,
    pub(crate) reason: String,
    pub(crate) reply: String,
    pub(crate) mail_from: Option<String>,
    pub(crate) recipient: Option<String>,
    /// Whether the XDP program refused it.
    pub(crate) by_kernel: bool,
    /// Whether shadow mode passed it on.
    pub(crate) is_shadow: bool,
}

impl Period {
    /// All refusals by reason, the most frequent first.
    pub(crate) fn reasons(&self) -> Vec<(String, u64)> {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (reason, count) in self.refused.iter().flatten() {
            *sums.entry(reason).or_default() += count;
        }
        let mut sums: Vec<(String, u64)> =
            sums.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        sums.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        sums
    }

    /// The number of all refusals.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.iter().flat_map(BTreeMap::values).sum()
    }

    /// All delivered messages.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.iter().sum()
    }

    /// All that shadow mode passed on.
    pub(crate) fn shadow(&self) -> u64 {
        self.shadow.iter().sum()
    }
}
