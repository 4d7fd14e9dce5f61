//! The results of a run: tables, notes and verdicts, as text and as JSON.
//!
//! It measures nothing, and claims nothing beyond the one run that it shows.

use std::fmt;

use serde_json::{Map, Value, json};

/// Everything that a run found.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub(super) sections: Vec<Section>,
    pub(super) verdicts: Vec<Verdict>,
}

/// A table with its notes.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    /// Headings; the first column names the row.
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Row>,
    /// The facts that are needed to read the numbers.
    pub(super) notes: Vec<String>,
}

/// A line of a table: its name, then one cell for each further column.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: Cells,
}

/// What stands in a line.
#[derive(Clone, Debug)]
pub(super) enum Cells {
    /// Numbers; none where there is nothing to measure.
    Numbers(Vec<Option<f64>>),
    /// Nothing, and why.
    Missing(String),
}

/// A target of the project, and how far this run is from it.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    /// The compared values.
    pub(super) what: &'static str,
    /// The ratio that was measured, if it could be.
    pub(super) ratio: Option<f64>,
    /// The ratio at most allowed.
    pub(super) target: f64,
}

impl Row {
    pub(super) fn numbers(name: impl Into<String>, numbers: impl Into<Vec<Option<f64>>>) -> Self {
        Self { name: name.into(), cells: Cells::Numbers(numbers.into()) }
    }

    pub(super) fn missing(name: impl Into<String>, why: impl Into<String>) -> Self {
        let why: String = why.into();
        Self { name: name.into(), cells: Cells::Missing(why.lines().collect::<Vec<_>>().join(" ")) }
    }
}

impl Report {
    /// The same for a machine.
    pub(super) fn json(&self) -> Value {
        json!({
            "sections": self.sections.iter().map(Section::json).collect::<Vec<_>>(),
            "targets": self.verdicts.iter().map(Verdict::json).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for section in &self.sections {
            writeln!(f, "{section}")?;
        }
        writeln!(f, "targets")?;
        self.verdicts.iter().try_for_each(|verdict| writeln!(f, "  {verdict}"))
    }
}

impl Section {
    fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(|row| row.json(&self.columns)).collect();
        json!({ "title": self.title, "rows": rows, "notes": self.notes })
    }
}

impl Row {
    fn json(&self, columns: &[&str]) -> Value {
        let mut object = Map::new();
        let mut columns = columns.iter().map(|column| (*column).to_owned());
        object.extend(columns.next().map(|column| (column, json!(self.name))));
        match &self.cells {
            Cells::Numbers(numbers) => object.extend(columns.zip(numbers.iter().map(|number| json!(number)))),
            Cells::Missing(why) => object.extend([("missing".to_owned(), json!(why))]),
        }
        Value::Object(object)
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<Vec<String>> = self.rows.iter().map(Row::texts).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|column| {
                let cells = texts.iter().filter_map(|row| row.get(column));
                let heading = self.columns[column].chars().count();
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(heading)
            })
            .collect();
        writeln!(f, "{}", self.title)?;
        write_row(f, &widths, self.columns.iter().copied())?;
        for (row, texts) in self.rows.iter().zip(&texts) {
            match &row.cells {
                Cells::Numbers(_) => write_row(f, &widths, texts.iter().map(String::as_str))?,
                Cells::Missing(why) => {
                    writeln!(f, "  {:<width$}  missing: {why}", row.name, width = widths[0])?
                }
            }
        }
        self.notes.iter().try_for_each(|note| write_note(f, note))
    }
}

impl Row {
    fn texts(&self) -> Vec<String> {
        let numbers = match &self.cells {
            Cells::Numbers(numbers) => numbers.as_slice(),
            Cells::Missing(_) => &[],
        };
        let cells = numbers.iter().map(|number| number.map_or_else(|| "-".to_owned(), text));
        std::iter::once(self.name.clone()).chain(cells).collect()
    }
}

/// The first column to the left, the others to the right.
fn write_row<'a>(
    f: &mut fmt::Formatter<'_>,
    widths: &[usize],
    cells: impl Iterator<Item = &'a str>,
) -> fmt::Result {
    for (column, (cell, width)) in cells.zip(widths).enumerate() {
        match column {
            0 => write!(f, "  {cell:<width$}")?,
            _ => write!(f, "  {cell:>width$}")?,
        }
    }
    writeln!(f)
}

/// Text up to [`WIDTH`], then the next line.
fn write_note(f: &mut fmt::Formatter<'_>, note: &str) -> fmt::Result {
    let mut line = "  *".to_owned();
    for word in note.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(f, "{line}")?;
            line = "   ".to_owned();
        }
        line.extend([" ", word]);
    }
    writeln!(f, "{line}")
}

/// A number with about three digits that mean something.
fn text(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

impl Verdict {
    fn is_met(&self) -> Option<bool> {
        self.ratio.map(|ratio| ratio <= self.target)
    }

    fn json(&self) -> Value {
        json!({ "what": self.what, "ratio": self.ratio, "target": self.target, "met": self.is_met() })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, ratio, target } = self;
        let Some(ratio) = ratio else {
            return write!(f, "not measured  {what}: at most {}", ratio_text(*target));
        };
        let (verdict, factor) = match self.is_met() {
            Some(true) => ("met         ", format!("{} times better", text(target / ratio))),
            _ => ("missed      ", format!("by a factor of {}", text(ratio / target))),
        };
        write!(f, "{verdict}  {what}: {}, at most {}; {factor}", ratio_text(*ratio), ratio_text(*target))
    }
}

/// A ratio below one as a fraction, else as a factor.
fn ratio_text(ratio: f64) -> String {
    if ratio < 1.0 { format!("1/{}", text(1.0 / ratio)) } else { format!("{}x", text(ratio)) }
}

/// The middle of `numbers`, or the mean of the two in the middle; none of nothing.
pub(super) fn median(numbers: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some((upper + lower) / 2.0)
}

/// Columns of a terminal that a note may fill.
const WIDTH: usize = 110;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0]), Some(3.0));
        assert_eq!(median([9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([9.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_verdict_says_how_far_it_is_from_its_target() {
        let verdict = |ratio, target| Verdict { what: "a of b", ratio, target }.to_string();
        assert_eq!(
            verdict(Some(0.01), 0.02),
            "met           a of b: 1/100, at most 1/50.0; 2.00 times better"
        );
        assert_eq!(
            verdict(Some(24.0), 12.0),
            "missed        a of b: 24.0x, at most 12.0x; by a factor of 2.00"
        );
        assert_eq!(verdict(None, 12.0), "not measured  a of b: at most 12.0x");
    }

    #[test]
    fn a_table_says_what_is_missing_and_why() {
        let section = Section {
            title: "t",
            columns: vec!["server", "ns"],
            rows: vec![
                Row::numbers("a", [Some(1.0)]),
                Row::numbers("longer", [None]),
                Row::missing("b", "not here"),
            ],
            notes: vec!["n".to_owned()],
        };
        let wanted =
            "t\n  server    ns\n  a       1.00\n  longer     -\n  b       missing: not here\n  * n\n";
        assert_eq!(section.to_string(), wanted);
        assert_eq!(
            section.json()["rows"],
            json!([
                { "server": "a", "ns": 1.0 },
                { "server": "longer", "ns": null },
                { "server": "b", "missing": "not here" },
            ])
        );
    }
}
