//! The table of percentiles of times.

use maud::{Markup, html};

use super::{grouped, milliseconds};
use crate::statistics::{Distribution, Period};

/// The percentiles of all that was timed in `period`.
pub(super) fn table(period: &Period) -> Markup {
    let times = &period.times;
    let parts = [
        ("PTR", &times.ptr),
        ("SPF", &times.spf),
        ("DKIM", &times.dkim),
        ("DNS", &times.dns),
        ("Next hop", &times.next_hop),
    ];
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "Part" }
                    @for (name, _) in SHARES { th.n scope="col" { (name) } }
                    th.n scope="col" { "Count" }
                }
            }
            tbody { @for (name, times) in parts { (row(name, times)) } }
        }
    }
}

fn row(name: &str, times: &Distribution) -> Markup {
    html! {
        tr {
            th scope="row" { (name) }
            @for (_, share) in SHARES { td.n { (shown(times.percentile_ms(share))) } }
            td.n { (grouped(times.count())) }
        }
    }
}

fn shown(time: Option<f64>) -> String {
    match time {
        None => "–".to_owned(),
        // above the largest bound of the histograms
        Some(time) if time.is_infinite() => "> 60 s".to_owned(),
        Some(time) => milliseconds(time),
    }
}

/// The percentiles that are shown.
const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)];
