//! A strict reader of the Prometheus text format 0.0.4, as node_exporter's textfile collector reads
//! it.
//!
//! It takes what a counter, a gauge or a histogram without a time stamp may look like, and nothing
//! else: no comments, no OpenMetrics. The caller judges the values.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};

/// One metric with all its samples.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metric {
    /// The metric's HELP text.
    pub help: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: String,
    /// By what stands between the braces; one without labels has an empty key. Of a histogram the
    /// counts alone, each behind `count,` or `bucket,`.
    pub samples: BTreeMap<String, u64>,
}

/// The metrics of a file, by name.
///
/// # Errors
/// At the first line that is not of the format, or not where the format has it.
pub fn read(text: &str) -> Result<BTreeMap<String, Metric>> {
    ensure!(text.ends_with('\n'), "the last line has no end");
    let mut metrics = BTreeMap::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (name, help) = described(line, "# HELP ")?;
        let (of, kind) = described(lines.next().context("a HELP line ends the file")?, "# TYPE ")?;
        ensure!(of == name, "the TYPE line of {of} is behind the HELP line of {name}");
        ensure!(["counter", "gauge", "histogram"].contains(&kind), "{name} has the type {kind:?}");
        ensure!((kind == "counter") == name.ends_with("_total"), "{name} is a {kind}");
        let mut samples = BTreeMap::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let read = if kind == "histogram" { part(name, line) } else { sample(name, line).map(Some) };
            let read = read.with_context(|| format!("bad sample: {line}"))?;
            if let Some((labels, value)) = read {
                ensure!(samples.insert(labels, value).is_none(), "a sample stands twice: {line}");
            }
        }
        ensure!(!samples.is_empty(), "{name} has no sample");
        let metric = Metric { help: help.to_owned(), kind: kind.to_owned(), samples };
        ensure!(metrics.insert(name.to_owned(), metric).is_none(), "{name} is described twice");
    }
    Ok(metrics)
}

fn described<'a>(line: &'a str, start: &str) -> Result<(&'a str, &'a str)> {
    let rest = line.strip_prefix(start).with_context(|| format!("no {start:?} line: {line}"))?;
    let (name, rest) = rest.split_once(' ').with_context(|| format!("nothing behind the name: {line}"))?;
    check_name(name)?;
    ensure!(!rest.is_empty(), "nothing behind the name: {line}");
    Ok((name, rest))
}

/// A sample of a histogram; none: the sum, which is not a whole number.
fn part(name: &str, line: &str) -> Result<Option<(String, u64)>> {
    for part in ["count", "bucket"] {
        let name = format!("{name}_{part}");
        if line.starts_with(&name) {
            let (labels, value) = sample(&name, line)?;
            return Ok(Some((format!("{part},{labels}"), value)));
        }
    }
    let sum = line.strip_prefix(name).and_then(|rest| rest.strip_prefix("_sum"));
    let value = sum.and_then(|rest| rest.rsplit_once(' ')).context("it is of another metric")?.1;
    value.parse::<f64>().context("the sum is not a number")?;
    Ok(None)
}

fn sample(name: &str, line: &str) -> Result<(String, u64)> {
    let rest = line.strip_prefix(name).context("it is of another metric")?;
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.split_once("} ").context("no value behind the labels")?,
        None => ("", rest.strip_prefix(' ').context("it is of another metric")?),
    };
    for label in labels.split(',').filter(|_| !labels.is_empty()) {
        let (name, value) = label.split_once('=').context("a label without a value")?;
        check_name(name)?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.context("a label's value is not in quotation marks")?;
        ensure!(!value.contains(['"', '\\']), "a label's value has to be escaped");
    }
    Ok((labels.to_owned(), value.parse().context("the value is not a number")?))
}

fn check_name(name: &str) -> Result<()> {
    let starts = name.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    let goes_on = name.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'_');
    if !(starts && goes_on) {
        bail!("not a name: {name:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::read;

    #[test]
    fn only_the_older_format_is_read() {
        let good = "# HELP a_total b c\n# TYPE a_total counter\na_total{x=\"y\",z=\"\"} 1\na_total 2\n";
        assert_eq!(read(good).unwrap()["a_total"].samples.len(), 2);
        for bad in [
            "# HELP a b\n# TYPE a counter\na_total 1\n",
            "# HELP a_total b\n# TYPE a_total counter\na_total 1\n# EOF\n",
            "# HELP a_total b\n# TYPE a_total counter\na_total 1\na_created 1\n",
            "# HELP a b\n# TYPE a untyped\na 1\n",
            "# HELP a b\n# TYPE a gauge\na 1",
            "a 1\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
