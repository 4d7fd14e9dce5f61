//! The report to the host: one line for each thing, fields between tabs.
//!
//! It judges nothing: `cargo xtask vm` does, and fails if the last line is missing.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};

/// A report on its way to the host.
#[derive(Debug)]
pub(super) struct Report {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    port: File,
    cases: usize,
}

/// A trial, and the side that has to answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case<'a> {
    pub(super) suite: &'a str,
    /// The card or link, and how the program runs there.
    pub(super) path: &'a str,
    pub(super) script: &'a str,
    /// `kernel`, `daemon`, or what else the case is about.
    pub(super) wanted: &'a str,
}

impl Report {
    /// One that is written to the serial port `path`.
    pub(super) fn open(path: &str) -> Result<Self> {
        let port = OpenOptions::new().write(true).open(path);
        let port = port.with_context(|| format!("cannot open the serial port {path}"))?;
        Ok(Self { state: Mutex::new(State { port, cases: 0 }) })
    }

    pub(super) fn begin(&self, release: &str) -> Result<()> {
        self.line(&["begin", release])
    }

    /// Something that was measured.
    pub(super) fn fact(&self, name: &str, value: &str) -> Result<()> {
        self.line(&["fact", name, value])
    }

    /// Something that is wrong and is not a case.
    pub(super) fn problem(&self, text: &str) -> Result<()> {
        self.line(&["problem", text])
    }

    /// Runs `task`, which returns who answered, and reports what became of it; a panic is a failure
    /// too.
    pub(super) fn case(&self, case: Case<'_>, task: impl FnOnce() -> Result<String>) -> Result<()> {
        let done = catch_unwind(AssertUnwindSafe(task)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(anyhow::anyhow!("panicked: {}", text.unwrap_or("without a text")))
        });
        match done {
            Ok(answered) => self.outcome(case, &answered, "ok", ""),
            Err(error) => self.outcome(case, "-", "failed", &format!("{error:#}")),
        }
    }

    /// Reports a case that was run elsewhere.
    pub(super) fn outcome(&self, case: Case<'_>, answered: &str, result: &str, detail: &str) -> Result<()> {
        let Case { suite, path, script, wanted } = case;
        self.line(&["case", suite, path, script, wanted, answered, result, detail])?;
        self.state().cases += 1;
        Ok(())
    }

    /// The last line, without which the host takes the machine for lost.
    pub(super) fn end(&self) -> Result<()> {
        let cases = self.state().cases;
        self.line(&["end", &cases.to_string()])
    }

    fn line(&self, fields: &[&str]) -> Result<()> {
        let fields: Vec<String> = fields.iter().map(|field| escaped(field)).collect();
        let line = fields.join("\t") + "\n";
        let mut state = self.state();
        state.port.write_all(line.as_bytes()).context("cannot write to the serial port")
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last [`FIELD_MAX`] octets of `field`, without what would end it.
fn escaped(field: &str) -> String {
    let start = field.len().saturating_sub(FIELD_MAX);
    let start = (start..field.len()).find(|at| field.is_char_boundary(*at)).unwrap_or(0);
    let plain: String = field[start..].chars().filter(|letter| *letter != '\r').collect();
    plain.replace('\\', "\\\\").replace('\n', "\\n").replace('\t', "\\t")
}

/// Octets of a field: the end of a log tells most.
const FIELD_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_ends_neither_itself_nor_its_line() {
        for (field, wanted) in [
            ("plain", "plain"),
            ("a\tb\nc\\d\r", "a\\tb\\nc\\\\d"),
            (&"x".repeat(FIELD_MAX + 1), &"x".repeat(FIELD_MAX)),
        ] {
            assert_eq!(escaped(field), wanted);
        }
    }
}
