//! The totals of the metrics that rates are made of, read off their text: what the page shows is
//! what a collector would see.

use std::{collections::BTreeMap, ops::AddAssign};

use serde::{Deserialize, Serialize};

use super::percentiles::Distributions;

/// Totals since the daemon's start, or the difference of two.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Totals {
    /// Messages that the next hop has.
    pub(crate) delivered: u64,
    /// Sessions, recipients and messages that were refused, by reason.
    pub(crate) refused: BTreeMap<String, u64>,
    /// What shadow mode passed on.
    pub(crate) shadow: u64,
    pub(crate) dns: Timing,
    pub(crate) next_hop: Timing,
    pub(crate) times: Distributions,
}

/// How often something was done, and how long that took together.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Timing {
    pub(crate) count: u64,
    pub(crate) failed: u64,
    pub(crate) seconds: f64,
}

impl Totals {
    /// The totals in `text`, of the Prometheus text format.
    pub(crate) fn of(text: &str) -> Self {
        let mut totals = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let Ok(value) = value.parse::<f64>() else { continue };
            totals.read(name, labels, value);
        }
        totals
    }

    fn read(&mut self, name: &str, labels: &str, value: f64) {
        // counters are whole numbers
        let count = value as u64;
        let label = |name: &str| {
            let mut each = labels.trim_end_matches('}').split(',');
            each.find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
        };
        let bound = || label("le").and_then(|bound| bound.parse().ok()).unwrap_or(f64::NAN);
        match name {
            "sixgate_messages_total" if label("outcome") == Some("delivered") => self.delivered += count,
            "sixgate_messages_total" | "sixgate_recipients_total" | "sixgate_sessions_total" => {
                let outcome = label("outcome").unwrap_or_default();
                if !["accepted", "served"].contains(&outcome) {
                    self.refuse(outcome, count);
                }
            }
            "sixgate_kernel_sessions_total" => self.refuse(label("reason").unwrap_or_default(), count),
            "sixgate_shadow_total" => self.shadow += count,
            "sixgate_dns_question_seconds_count" => {
                self.dns.count += count;
                if label("result") == Some("failed") {
                    self.dns.failed += count;
                }
            }
            "sixgate_check_seconds_bucket" => match label("check") {
                Some("ptr") => self.times.ptr.add(bound(), count),
                Some("spf") => self.times.spf.add(bound(), count),
                Some("dkim") => self.times.dkim.add(bound(), count),
                _ => {}
            },
            "sixgate_dns_question_seconds_bucket" => self.times.dns.add(bound(), count),
            "sixgate_next_hop_seconds_bucket" => self.times.next_hop.add(bound(), count),
            "sixgate_dns_question_seconds_sum" => self.dns.seconds += value,
            "sixgate_next_hop_seconds_count" => self.next_hop.count += count,
            "sixgate_next_hop_seconds_sum" => self.next_hop.seconds += value,
            _ => {}
        }
    }

    fn refuse(&mut self, reason: &str, count: u64) {
        if self.refused.len() < REASONS_MAX || self.refused.contains_key(reason) {
            *self.refused.entry(reason.to_owned()).or_default() += count;
        }
    }

    /// The difference to earlier totals.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let refused = self.refused.iter().filter_map(|(reason, count)| {
            let more = count.saturating_sub(earlier.refused.get(reason).copied().unwrap_or_default());
            (more > 0).then(|| (reason.clone(), more))
        });
        Self {
            delivered: self.delivered.saturating_sub(earlier.delivered),
            refused: refused.collect(),
            shadow: self.shadow.saturating_sub(earlier.shadow),
            dns: self.dns.since(&earlier.dns),
            next_hop: self.next_hop.since(&earlier.next_hop),
            times: self.times.since(&earlier.times),
        }
    }
}

impl AddAssign<&Self> for Totals {
    fn add_assign(&mut self, other: &Self) {
        self.delivered += other.delivered;
        for (reason, count) in &other.refused {
            self.refuse(reason, *count);
        }
        self.shadow += other.shadow;
        self.dns += other.dns;
        self.next_hop += other.next_hop;
        self.times += other.times;
    }
}

impl Timing {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            count: self.count.saturating_sub(earlier.count),
            failed: self.failed.saturating_sub(earlier.failed),
            seconds: (self.seconds - earlier.seconds).max(0.0),
        }
    }

    /// The mean time, in milliseconds; none: nothing was done.
    pub(crate) fn mean_ms(&self) -> Option<f64> {
        (self.count > 0).then(|| self.seconds * 1000.0 / self.count as f64)
    }
}

impl AddAssign for Timing {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.failed += other.failed;
        self.seconds += other.seconds;
    }
}

/// Reasons that are told apart: there are fewer.
const REASONS_MAX: usize = 64;
