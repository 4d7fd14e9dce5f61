//! The report of a guest, judged: every case as it has to be, none missing, the end reached.
//!
//! The lines are those that `sixgate_tests::vm::report` writes: fields between tabs, with `\n`,
//! `\t` and `\\` escaped.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use super::{Card, Suite, boot::Ended};

/// A machine's report.
#[derive(Debug, Default)]
pub(super) struct MachineReport {
    title: String,
    cases: Vec<Case>,
    facts: BTreeMap<String, String>,
    problems: Vec<String>,
    /// The guest's last line is missing.
    cut_short: bool,
    seconds: u64,
    console: Option<(String, PathBuf)>,
}

/// Something that was tried.
#[derive(Debug)]
struct Case {
    suite: String,
    /// The card or link, and who runs the program there.
    path: String,
    script: String,
    /// Who has to answer, and who did, by the program's counters.
    wanted: String,
    answered: String,
    passed: bool,
    detail: String,
}

impl Case {
    fn is_good(&self) -> bool {
        self.passed && self.answered == self.wanted
    }
}

impl MachineReport {
    /// Judges what came from a machine whose kernel is `release`.
    pub(super) fn read(title: String, card: Card, suites: &[Suite], ended: &Ended, release: &str) -> Self {
        let mut report = Self { title, seconds: ended.took.as_secs(), cut_short: true, ..Self::default() };
        for line in &ended.lines {
            report.line(line, release);
        }
        if report.cut_short {
            let what =
                if ended.timed_out { "did not end in time" } else { "ended without the guest's last line" };
            report.problems.push(format!("the machine {what}"));
        }
        for suite in suites.iter().map(Suite::to_string) {
            if !report.cases.iter().any(|case| case.suite == suite) {
                report.problems.push(format!("no case of the suite {suite} was reported"));
            }
        }
        if suites.contains(&Suite::Smoke) {
            report.check_smoke(card);
        }
        report
    }

    fn line(&mut self, line: &str, release: &str) {
        let fields: Vec<String> = line.split('\t').map(unescaped).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        match fields[..] {
            ["begin", running] if running == release => {}
            ["begin", running] => self.problems.push(format!("Linux {running} runs, not {release}")),
            ["case", suite, path, script, wanted, answered, result, detail] => self.cases.push(Case {
                suite: suite.to_owned(),
                path: path.to_owned(),
                script: script.to_owned(),
                wanted: wanted.to_owned(),
                answered: answered.to_owned(),
                passed: result == "ok",
                detail: detail.to_owned(),
            }),
            ["fact", name, value] => {
                self.facts.insert(name.to_owned(), value.to_owned());
            }
            ["problem", text] => self.problems.push(text.to_owned()),
            ["end", cases] if cases.parse() == Ok(self.cases.len()) => self.cut_short = false,
            ["end", cases] => {
                self.cut_short = false;
                self.problems.push(format!("{} of {cases} cases arrived", self.cases.len()));
            }
            _ => self.problems.push(format!("the guest sent a line without meaning: {line}")),
        }
    }

    /// Every link was tried both ways, and the verifier's work is bounded.
    fn check_smoke(&mut self, card: Card) {
        let native = (card == Card::Virtio).then_some(&SMOKE_PATH_OF_VIRTIO);
        for path in SMOKE_PATHS.iter().chain(native) {
            for script in SMOKE_SCRIPTS {
                let is_it = |case: &&Case| {
                    case.suite == "smoke" && case.path.starts_with(path) && case.script == *script
                };
                if !self.cases.iter().any(|case| is_it(&case)) {
                    self.problems.push(format!("not reported: {path}, {script}"));
                }
            }
        }
        match self.facts.get(INSTRUCTIONS).map(|count| count.parse::<u32>()) {
            Some(Ok(count)) if count <= INSTRUCTIONS_MAX => {}
            Some(Ok(count)) => self
                .problems
                .push(format!("the verifier processed {count} instructions, {INSTRUCTIONS_MAX} are allowed")),
            _ => self.problems.push("the verifier's number of instructions was not reported".to_owned()),
        }
    }

    /// Whether the end is missing, so that the console may show why.
    pub(super) fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    /// With the last lines of the console, which lies in `file`.
    pub(super) fn with_console(mut self, tail: Option<String>, file: &Path) -> Self {
        self.console = tail.map(|tail| (tail, file.to_owned()));
        self
    }

    /// Whether all is as it has to be.
    pub(super) fn is_good(&self) -> bool {
        self.problems.is_empty() && self.cases.iter().all(Case::is_good)
    }
}

impl fmt::Display for MachineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let good = self.cases.iter().filter(|case| case.is_good()).count();
        writeln!(
            f,
            "## {}: {good} of {} as they have to be, {} s",
            self.title,
            self.cases.len(),
            self.seconds
        )?;
        for (name, value) in &self.facts {
            writeln!(f, "{name}: {value}")?;
        }
        let rows = self.cases.iter().map(|case| {
            let result = if case.is_good() { "ok" } else { "FAILED" };
            [&*case.suite, &*case.path, &*case.script, &*case.answered, result]
        });
        let rows: Vec<[&str; 5]> = std::iter::once(HEAD).chain(rows).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 5] = std::array::from_fn(width);
        for row in &rows {
            let cells: Vec<String> =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        for case in self.cases.iter().filter(|case| !case.is_good()) {
            let Case { suite, path, script, wanted, answered, detail, .. } = case;
            writeln!(f, "\n{suite}, {path}, {script}: answered by {answered}, has to be {wanted}\n{detail}")?;
        }
        for problem in &self.problems {
            writeln!(f, "problem: {problem}")?;
        }
        if let Some((tail, file)) = &self.console {
            writeln!(f, "--- the end of the console, {}\n{tail}---", file.display())?;
        }
        Ok(())
    }
}

/// The characters that the guest's escapes stand for.
fn unescaped(field: &str) -> String {
    let mut text = String::new();
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                other => text.extend(other),
            },
            letter => text.push(letter),
        }
    }
    text
}

const HEAD: [&str; 5] = ["suite", "path", "script", "answered by", "result"];
const INSTRUCTIONS: &str = "instructions processed by the verifier";
/// The instructions that the verifier may process; the kernel's own limit is a million.
const INSTRUCTIONS_MAX: u32 = 700_000;
const SMOKE_PATHS: &[&str] = &["card, auto", "card, generic", "veth, native", "veth, generic", "lo, generic"];
/// Every driver of virtio-net runs the program.
const SMOKE_PATH_OF_VIRTIO: &str = "card, auto: native";
const SMOKE_SCRIPTS: &[&str] = &["refused", "delivered"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BEGIN: &str = "begin\t6.1.0-50-amd64";
    const INSIDE: &str = "fact\tinstructions processed by the verifier\t419215";

    fn case(path: &str, script: &str, answered: &str, result: &str) -> String {
        let wanted = if script == "refused" { "kernel" } else { "daemon" };
        format!("case\tsmoke\t{path}\t{script}\t{wanted}\t{answered}\t{result}\tno\\ttab")
    }

    fn whole() -> Vec<String> {
        let mut lines = vec![BEGIN.to_owned(), INSIDE.to_owned()];
        for path in ["card, auto: native", "card, generic", "veth, native", "veth, generic", "lo, generic"] {
            lines.push(case(path, "refused", "kernel", "ok"));
            lines.push(case(path, "delivered", "daemon", "ok"));
        }
        lines.push("end\t10".to_owned());
        lines
    }

    fn read(lines: Vec<String>, timed_out: bool) -> MachineReport {
        let ended = Ended { lines, timed_out, took: Duration::from_secs(60) };
        MachineReport::read("6.1".to_owned(), Card::Virtio, &[Suite::Smoke], &ended, "6.1.0-50-amd64")
    }

    #[test]
    fn a_whole_report_is_good() {
        let report = read(whole(), false);
        assert!(report.is_good(), "{report}");
    }

    #[test]
    fn a_report_with_a_flaw_is_not_good() {
        type Flaw = fn(&mut Vec<String>);
        let flaws: [(&str, Flaw); 9] = [
            ("has to be kernel", |lines| lines[2] = case("card, auto: native", "refused", "daemon", "ok")),
            ("no\ttab", |lines| lines[2] = case("card, auto: native", "refused", "kernel", "failed")),
            ("without the guest's last line", |lines| drop(lines.pop())),
            ("9 of 10 cases arrived", |lines| drop(lines.remove(4))),
            ("not reported: lo, generic, refused", |lines| {
                lines.remove(10);
                lines[11] = "end\t9".to_owned();
            }),
            ("800000 instructions", |lines| lines[1] = INSIDE.replace("419215", "800000")),
            ("instructions was not reported", |lines| drop(lines.remove(1))),
            ("Linux 6.18.0 runs", |lines| lines[0] = "begin\t6.18.0".to_owned()),
            ("without meaning: Killed", |lines| lines.insert(3, "Killed".to_owned())),
        ];
        for (problem, flaw) in flaws {
            let mut lines = whole();
            flaw(&mut lines);
            let report = read(lines, false);
            assert!(!report.is_good() && report.to_string().contains(problem), "{problem}\n{report}");
        }
        let nothing = read(Vec::new(), true);
        assert!(nothing.to_string().contains("did not end in time"), "{nothing}");
    }
}
