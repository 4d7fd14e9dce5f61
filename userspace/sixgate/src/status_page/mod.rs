//! The status page: statistics as HTML, complete without a script.
//!
//! It renders what it is given. Each value passes through maud, which escapes it: a text that a
//! client chose is never markup.

mod chart;
mod times;

use maud::{DOCTYPE, Markup, html};

use crate::statistics::{Health, Period, RefusalRow, Snapshot, Timing, TopRow};

/// The style of the page, `/style.css`.
pub(crate) const STYLE: &str = include_str!("style.css");
/// The icon of the page, `/icon.svg`.
pub(crate) const ICON: &str = include_str!("icon.svg");
/// Refusals on the page.
pub(crate) const ROWS: usize = 100;

/// The page; `search`: what the refusals were searched for.
pub(crate) fn render(snapshot: &Snapshot, search: &str) -> String {
    let health = &snapshot.health;
    let title = format!("sixgate on {}", health.hostname);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if search.is_empty() { meta http-equiv="refresh" content="60"; }
                title { (title) }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="/icon.svg" type="image/svg+xml";
            }
            body {
                header { (head(health)) }
                main {
                    (problems(health))
                    (numbers(snapshot))
                    (charts(snapshot))
                    div.columns {
                        section { h2 { "Refusals by reason" } (reasons(snapshot)) }
                        section { h2 { "Health" } (states(snapshot)) }
                        section { h2 { "Times, last hour" } (times::table(&snapshot.hour)) }
                        section { h2 { "Times, last day" } (times::table(&snapshot.day)) }
                        section { h2 { "Source networks" } (top(&snapshot.sources, "Network (/64)")) }
                        section { h2 { "Destinations" } (top(&snapshot.destinations, "Address")) }
                    }
                    section id="refusals" { h2 { "Last refusals" } (refusals(snapshot, search)) }
                }
                footer {
                    p {
                        "As of " (time(&health.now)) ". Kept in memory since the start: "
                        a href="/metrics" { "metrics" } " and the log have the rest."
                    }
                }
            }
        }
    };
    page.into_string()
}

fn head(health: &Health) -> Markup {
    let mode_class = if health.mode == "shadow" { "badge shadow" } else { "badge" };
    html! {
        h1 { (health.hostname) }
        p {
            span class=(mode_class) { (health.mode) " mode" }
            " sixgate " (health.version) ", up since " (time(&health.since))
        }
    }
}

fn problems(health: &Health) -> Markup {
    html! {
        @if health.problems.is_empty() {
            p.good { span.mark { "✓" } " No problem is known." }
        } @else {
            section.problems {
                h2 { (plural(health.problems.len() as u64, "problem", "problems")) }
                ul { @for problem in &health.problems { li { (problem) } } }
            }
        }
    }
}

fn numbers(snapshot: &Snapshot) -> Markup {
    let Snapshot { health, hour, day, .. } = snapshot;
    let is_shadow = health.mode == "shadow" || day.shadow() > 0;
    let number = |label: &str, hour: u64, day: u64| {
        html! {
            div.number {
                dt { (label) }
                dd { span.large { (grouped(hour)) } " in the last hour" }
                dd { (grouped(day)) " in the last day" }
            }
        }
    };
    html! {
        dl.numbers {
            (number("Messages delivered", hour.delivered(), day.delivered()))
            (number("Refusals", hour.refused(), day.refused()))
            @if is_shadow { (number("Passed on in shadow mode", hour.shadow(), day.shadow())) }
            div.number {
                dt { "Sessions open" }
                dd { span.large { (grouped(health.open.into())) } " now" }
                dd { "refusals by the " (if health.is_xdp_attached { "kernel" } else { "daemon" }) }
            }
        }
    }
}

fn charts(snapshot: &Snapshot) -> Markup {
    // one order, so that a reason has one colour in both
    let order: Vec<String> = snapshot.day.reasons().into_iter().map(|(reason, _)| reason).collect();
    html! {
        div.charts {
            (chart::refusals("Refusals, last hour", "per minute", &snapshot.hour, &order))
            (chart::refusals("Refusals, last day", "per 15 minutes", &snapshot.day, &order))
            (chart::delivered("Messages delivered, last hour", "per minute", &snapshot.hour))
            (chart::delivered("Messages delivered, last day", "per 15 minutes", &snapshot.day))
        }
    }
}

fn reasons(snapshot: &Snapshot) -> Markup {
    let hour: std::collections::BTreeMap<String, u64> = snapshot.hour.reasons().into_iter().collect();
    let day = snapshot.day.reasons();
    html! {
        @if day.is_empty() {
            p.empty { "Nothing was refused in the last day." }
        } @else {
            table {
                thead { tr { th scope="col" { "Reason" } th.n scope="col" { "Hour" } th.n scope="col" { "Day" } } }
                tbody {
                    @for (at, (reason, count)) in day.iter().enumerate() {
                        tr {
                            th scope="row" { span class=(chart::key_class(at)) {} (reason_text(reason)) }
                            td.n { (grouped(hour.get(reason).copied().unwrap_or_default())) }
                            td.n { (grouped(*count)) }
                        }
                    }
                }
            }
        }
    }
}

fn states(snapshot: &Snapshot) -> Markup {
    let Snapshot { health, hour, day, .. } = snapshot;
    let row = |label: &str, problem: &Option<String>, timing: fn(&Period) -> Timing| {
        let mean = |period: &Period| timing(period).mean_ms().map_or_else(|| "–".to_owned(), milliseconds);
        html! {
            tr {
                th scope="row" { (label) }
                td { @if problem.is_some() { span.bad { "fails" } } @else { span.ok { "usable" } } }
                td.n { (mean(hour)) }
                td.n { (mean(day)) }
                td.n { (grouped(timing(day).count)) }
            }
        }
    };
    html! {
        table {
            thead {
                tr {
                    th scope="col" { "Part" } th scope="col" { "State" }
                    th.n scope="col" { "Mean, hour" } th.n scope="col" { "Mean, day" } th.n scope="col" { "Asked, day" }
                }
            }
            tbody {
                (row("DNS", &health.dns_problem, |period| period.dns))
                (row("Next hop", &health.next_hop_problem, |period| period.next_hop))
            }
        }
        @if day.dns.failed > 0 {
            p.note { (plural(day.dns.failed, "question", "questions")) " to DNS had no answer in the last day." }
        }
    }
}

fn top(rows: &[TopRow], name: &str) -> Markup {
    html! {
        @if rows.is_empty() {
            p.empty { "No session has ended in the last day." }
        } @else {
            table {
                thead {
                    tr { th scope="col" { (name) } th.n scope="col" { "Sessions" } th.n scope="col" { "Refused" } }
                }
                tbody {
                    @for row in rows {
                        tr {
                            th.address scope="row" { a href={ "/?q=" (encoded(search_of(&row.name))) "#refusals" } { (row.name) } }
                            td.n { (grouped(row.sessions)) }
                            td.n { (grouped(row.refused)) }
                        }
                    }
                }
            }
        }
    }
}

fn refusals(snapshot: &Snapshot, search: &str) -> Markup {
    let Snapshot { recent, kept, found, missed, .. } = snapshot;
    html! {
        form action="/#refusals" method="get" role="search" {
            label for="q" { "Search" }
            input type="search" id="q" name="q" value=(search) maxlength="200" placeholder="address, domain, reason, session";
            button type="submit" { "Search" }
            @if !search.is_empty() { a href="/#refusals" { "show all" } }
        }
        @if *kept == 0 {
            p.empty { "No refusal since the start." }
        } @else if *found == 0 {
            p.empty { "No refusal of the last " (grouped(*kept as u64)) " contains “" (search) "”." }
        } @else {
            p.note {
                (plural(*found as u64, "refusal", "refusals"))
                @if !search.is_empty() { " with “" (search) "”" }
                @if *found > recent.len() { ", the newest " (recent.len()) " are shown" }
                ". The last " (grouped(crate::statistics::RECENT_KEPT as u64)) " are kept."
                @if *missed > 0 { " " (plural(*missed, "session", "sessions")) " ended too fast to be listed." }
            }
            div.list { @for row in recent { (refusal(row)) } }
        }
    }
}

fn refusal(row: &RefusalRow) -> Markup {
    let responder = match (row.is_shadow, row.by_kernel) {
        (true, _) => "passed on in shadow mode",
        (false, true) => "refused by the kernel",
        (false, false) => "refused by the daemon",
    };
    html! {
        article {
            p.what {
                (time(&row.at)) " " b { (reason_text(&row.reason)) } " "
                span.note { (responder) ", at " (row.command) }
            }
            p.who {
                span.address { (row.source) }
                @if let Some(name) = &row.client_name { " " (name) }
                @if let Some(helo) = &row.helo { " " span.note { "HELO" } " " (helo) }
                " → " span.address { (row.destination) }
            }
            @if row.mail_from.is_some() || row.recipient.is_some() {
                p.who {
                    @if let Some(sender) = &row.mail_from { span.note { "from" } " <" (sender) "> " }
                    @if let Some(recipient) = &row.recipient { span.note { "to" } " <" (recipient) ">" }
                }
            }
            @if !row.reply.is_empty() { p.reply { (row.reply) } }
            p.note.id { "session " (row.id) }
        }
    }
}

/// A time as a person reads it, in UTC.
fn time(text: &str) -> Markup {
    let shown = text.replacen('T', " ", 1).replace('Z', " UTC");
    html! { time datetime=(text) { (shown) } }
}

/// A reason, which is a label of the metrics, as text.
pub(crate) fn reason_text(reason: &str) -> String {
    match reason {
        "not_opted_in" | "address_not_opted_in" => "destination has not opted in".to_owned(),
        "domain_not_opted_in" => "domain is not listed".to_owned(),
        "no_ptr" => "no PTR record".to_owned(),
        "not_authenticated" => "neither SPF nor DKIM passes".to_owned(),
        "next_hop" => "by the next hop".to_owned(),
        "dns_failure" => "DNS failure".to_owned(),
        "next_hop_unknown" => "next hop has never replied".to_owned(),
        reason => reason.replace('_', " "),
    }
}

/// A whole number with thin spaces between thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

fn plural(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { more })
}

/// A time in milliseconds with two or three digits that matter.
fn milliseconds(time: f64) -> String {
    match time {
        _ if time >= 10_000.0 => format!("{:.1} s", time / 1000.0),
        _ if time >= 10.0 => format!("{time:.0} ms"),
        _ => format!("{time:.1} ms"),
    }
}

/// What leads from a network or an address to its refusals.
fn search_of(name: &str) -> &str {
    name.split_once("::/").map_or(name, |(network, _)| network)
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_times_are_short() {
        assert_eq!(grouped(7), "7");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(milliseconds(0.44), "0.4 ms");
        assert_eq!(milliseconds(12_345.0), "12.3 s");
    }

    #[test]
    fn a_text_of_a_client_is_never_markup() {
        let hostile = "\"><script>alert(1)</script><img src=x onerror=y>&'";
        let row = RefusalRow {
            helo: Some(hostile.to_owned()),
            reply: hostile.to_owned(),
            mail_from: Some(hostile.to_owned()),
            recipient: Some(hostile.to_owned()),
            client_name: Some(hostile.to_owned()),
            reason: hostile.to_owned(),
            ..RefusalRow::default()
        };
        let snapshot = Snapshot { recent: vec![row], kept: 1, found: 1, ..Snapshot::default() };
        let page = render(&snapshot, hostile);
        assert!(!page.contains("<script") && !page.contains("<img") && !page.contains(hostile), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
    }
}
