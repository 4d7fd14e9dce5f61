//! This bench and that of another commit, alternating, and the ratios of what both measured.
//!
//! Another commit's XDP program needs that commit's loader, maps and helper programs. So each is
//! driven by its own bench, a child of this one, and their tables are compared by title, row and
//! column. It measures nothing itself.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Part,
    report::{Report, Row, Section, median},
};
use clap::ValueEnum as _;

/// A row of a table that both benches have, and the column that is compared.
type Place = (String, String);

/// Runs `parts` of this bench and of the one at `other`, alternating, each with its `options`, and
/// adds a table with their ratios.
///
/// # Errors
/// If one of them does not start or fails, or they have no row in common.
pub(super) fn measure(other: &Path, parts: &[Part], options: &[String], report: &mut Report) -> Result<()> {
    let ours = std::env::current_exe().context("cannot find this bench")?;
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let json = folder.path().join("report.json");
    let mut order = Vec::new();
    let mut figures: BTreeMap<Place, Vec<[f64; 2]>> = BTreeMap::new();
    for number in 0..RUNS {
        let mut pair = [BTreeMap::new(), BTreeMap::new()];
        // neither is always the first
        for at in if number % 2 == 0 { [0, 1] } else { [1, 0] } {
            let bench = if at == 0 { &ours } else { other };
            let found = run(bench, parts, options, &json)?;
            if at == 0 && number == 0 {
                order = found.iter().map(|(place, _)| place.clone()).collect();
            }
            pair[at] = found.into_iter().collect();
        }
        let [ours, theirs] = pair;
        for (place, our) in ours {
            if let Some(their) = theirs.get(&place) {
                figures.entry(place).or_default().push([our, *their]);
            }
        }
    }
    ensure!(!figures.is_empty(), "{} has no row in common with this bench", other.display());
    let rows = order.into_iter().filter_map(|place| {
        let pairs = figures.get(&place)?;
        let (title, row) = place;
        let middle = |of: fn(&[f64; 2]) -> f64| median(pairs.iter().map(of));
        let numbers = [middle(|pair| pair[0]), middle(|pair| pair[1]), middle(|[our, their]| our / their)];
        Some(Row::numbers(format!("{row} [{title}]"), numbers))
    });
    report.sections.push(Section {
        title: "This bench and another commit's, alternating",
        columns: vec!["row", "this", "other", "this / other"],
        rows: rows.collect(),
        notes: vec![
            format!(
                "The other one is {}. {RUNS} runs each; the ratio is the median of theirs.",
                other.display()
            ),
            NOTE.to_owned(),
        ],
    });
    Ok(())
}

/// The figures of a bench, in the order of its tables.
fn run(bench: &Path, parts: &[Part], options: &[String], json: &Path) -> Result<Vec<(Place, f64)>> {
    let mut command = Command::new(bench);
    for part in parts {
        let name = part.to_possible_value().context("each part has a name")?;
        command.arg("--part").arg(name.get_name());
    }
    command.args(options).arg("--json").arg(json).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().with_context(|| format!("cannot start {}", bench.display()))?;
    ensure!(status.success(), "{} failed ({status})", bench.display());
    let text = fs::read_to_string(json).with_context(|| format!("cannot read {}", json.display()))?;
    let report: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not JSON", json.display()))?;
    Ok(figures(&report))
}

/// One figure of each row: that of the first of [`COLUMNS`] that its table has.
fn figures(report: &Value) -> Vec<(Place, f64)> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    for section in list(&report["sections"]) {
        let title = section["title"].as_str().unwrap_or_default();
        for row in list(&section["rows"]) {
            let Some((column, figure)) =
                COLUMNS.iter().find_map(|column| Some((column, row.get(column)?.as_f64()?)))
            else {
                continue;
            };
            let name = NAMES.iter().find_map(|name| row.get(name)?.as_str()).unwrap_or_default();
            // what a server without an XDP program has there
            if figure > 0.0 {
                let title = title.split(" (").next().unwrap_or(title);
                found.push(((format!("{title}, {column}"), name.to_owned()), figure));
            }
        }
    }
    found
}

/// Runs of each bench.
const RUNS: usize = 3;
/// The columns that are compared.
const COLUMNS: [&str; 3] = ["BPF us", "us a session", "ns"];
/// The columns that have the names of rows.
const NAMES: [&str; 3] = ["path", "server", "sessions at a time"];
const NOTE: &str = "Each is driven by its own bench, with its own commands, daemon and helper programs; compared are the rows \
                    that both have under the same title.";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_is_found_by_title_and_name() {
        let report = json!({ "sections": [
            { "title": "A packet (x)", "rows": [{ "path": "SYN", "ns": 120.0, "x empty": 4.0 }] },
            { "title": "Sessions", "rows": [
                { "server": "kernel", "sessions/s": 9.0, "BPF us": 2.0 },
                { "server": "postscreen", "BPF us": 0.0 },
                { "server": "smtpd", "missing": "not here" },
            ] },
        ] });
        let place = |title: &str, row: &str| (title.to_owned(), row.to_owned());
        let wanted = [(place("A packet, ns", "SYN"), 120.0), (place("Sessions, BPF us", "kernel"), 2.0)];
        assert_eq!(figures(&report), wanted);
    }
}
