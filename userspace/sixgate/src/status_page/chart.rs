//! Bars over time as SVG: each bar an interval, each part of it a reason. The text of a chart is
//! HTML beside it, so that it keeps its size on a narrow screen.

use maud::{Markup, html};

use super::{grouped, reason_text};
use crate::statistics::Period;

/// A part of a bar: the class that colours it, and its number.
type Part = (String, u64);

/// Refusals by reason; `order`: the reasons, by colour.
pub(super) fn refusals(title: &str, unit: &str, period: &Period, order: &[String]) -> Markup {
    let bars: Vec<Vec<Part>> = period
        .refused
        .iter()
        .map(|refused| {
            let parts = order.iter().enumerate().filter_map(|(at, reason)| {
                let count = *refused.get(reason)?;
                (count > 0).then(|| (format!("s{}", at.min(OTHER)), count))
            });
            parts.collect()
        })
        .collect();
    let keys: Vec<(String, String)> = period
        .reasons()
        .into_iter()
        .filter_map(|(reason, _)| {
            let at = order.iter().position(|other| *other == reason)?;
            Some((key_class(at), reason_text(&reason)))
        })
        .collect();
    figure(title, unit, period.bar_seconds, &bars, &keys, "Nothing was refused.")
}

/// Delivered messages, without reasons.
pub(super) fn delivered(title: &str, unit: &str, period: &Period) -> Markup {
    let bar = |count: &u64| match count {
        0 => Vec::new(),
        count => vec![("delivered".to_owned(), *count)],
    };
    let bars: Vec<Vec<Part>> = period.delivered.iter().map(bar).collect();
    figure(title, unit, period.bar_seconds, &bars, &[], "No message was delivered.")
}

/// The class of the colour key of the reason that stands at `at` in the order.
pub(super) fn key_class(at: usize) -> String {
    format!("key s{}", at.min(OTHER))
}

fn figure(
    title: &str,
    unit: &str,
    bar_seconds: u64,
    bars: &[Vec<Part>],
    keys: &[(String, String)],
    empty: &str,
) -> Markup {
    let total = |bar: &[Part]| bar.iter().map(|(_, count)| count).sum::<u64>();
    let highest = bars.iter().map(|bar| total(bar)).max().unwrap_or_default();
    let top = round_up(highest);
    let width = bars.len() as u64 * BAR;
    let hours = bars.len() as u64 * bar_seconds / 3600;
    let (start, middle) = match hours {
        0 | 1 => ("60 min ago".to_owned(), "30 min ago".to_owned()),
        hours => (format!("{hours} h ago"), format!("{} h ago", hours / 2)),
    };
    html! {
        figure {
            figcaption { (title) " " span.note { (unit) } }
            div.plot {
                div.scale aria-hidden="true" { span { (grouped(top)) } span { (half(top)) } span { "0" } }
                svg viewBox={ "0 0 " (width) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(title) {
                    @for y in [0, HEIGHT / 2, HEIGHT] {
                        line.grid x1="0" x2=(width) y1=(y) y2=(y) {}
                    }
                    @for (at, bar) in bars.iter().enumerate().filter(|(_, bar)| !bar.is_empty()) {
                        g {
                            title { (grouped(total(bar))) " " (ago(bars.len() - 1 - at, bar_seconds)) }
                            @for (class, y, height) in stacked(bar, top) {
                                rect class=(class) x=(at as u64 * BAR + 1) width=(BAR - 2) y=(format!("{y:.1}")) height=(format!("{height:.1}")) {}
                            }
                        }
                    }
                }
                @if highest == 0 { p.empty { (empty) } }
            }
            div.times aria-hidden="true" { span { (start) } span { (middle) } span { "now" } }
            @if !keys.is_empty() {
                ul.keys { @for (class, text) in keys { li { span class=(class) {} (text) } } }
            }
        }
    }
}

/// The parts of a bar from below, each with its class, upper end and height.
fn stacked(bar: &[Part], top: u64) -> Vec<(&str, f64, f64)> {
    let mut end = HEIGHT as f64;
    bar.iter()
        .map(|(class, count)| {
            let height = *count as f64 * HEIGHT as f64 / top as f64;
            end -= height;
            (class.as_str(), end, height)
        })
        .collect()
}

fn ago(bars: usize, bar_seconds: u64) -> String {
    let minutes = bars as u64 * bar_seconds / 60;
    match minutes {
        0 => "now".to_owned(),
        1..120 => format!("{minutes} min ago"),
        _ => format!("{} h {:02} min ago", minutes / 60, minutes % 60),
    }
}

/// Half of the scale; nothing, if that is not whole.
fn half(top: u64) -> String {
    if top.is_multiple_of(2) { grouped(top / 2) } else { String::new() }
}

/// The next number of the form 1, 2, 4, 5 or 10 times a power of ten, 2 at least.
fn round_up(number: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for step in [2, 4, 5, 10] {
            if let Some(round) = power.checked_mul(step).filter(|round| *round >= number) {
                return round;
            }
        }
        let Some(next) = power.checked_mul(10) else { return u64::MAX };
        power = next;
    }
}

/// Units of the drawing that a bar is wide, and a chart high.
const BAR: u64 = 10;
const HEIGHT: u64 = 120;
/// The colour that all rare reasons have.
const OTHER: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number() {
        for (number, round) in [(0, 2), (2, 2), (3, 4), (5, 5), (11, 20), (41, 50), (999, 1000), (1001, 2000)]
        {
            assert_eq!(round_up(number), round, "{number}");
        }
        assert_eq!(round_up(u64::MAX), u64::MAX);
    }
}
