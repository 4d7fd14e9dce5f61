//! The facts about the machine without which a figure cannot be compared with another machine's.
//!
//! It measures nothing.

use std::fs;

use super::report::{Report, Row, Section};

/// Puts the machine's facts at the head of the report: its processor and kernel, the mitigations
/// that are on, and whether the kernel hardens the machine code that it makes of programs.
pub(super) fn tell(report: &mut Report) {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| {
            line.strip_prefix("model name").map(|rest| rest.trim_matches([' ', '\t', ':']).to_owned())
        })
        .unwrap_or_else(|| "unknown".to_owned());
    let mut rows = vec![
        Row::missing("processor", processor),
        Row::missing("kernel", read("/proc/sys/kernel/osrelease")),
        Row::missing("bpf_jit_harden", read("/proc/sys/net/core/bpf_jit_harden")),
    ];
    let mut mitigations: Vec<(String, String)> = fs::read_dir(VULNERABILITIES)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .map(|name| (name.clone(), read(&format!("{VULNERABILITIES}/{name}"))))
        .filter(|(_, state)| state != "Not affected")
        .collect();
    mitigations.sort();
    rows.extend(mitigations.into_iter().map(|(name, state)| Row::missing(name, state)));
    report.sections.push(Section {
        title: "The machine",
        columns: vec!["", "is"],
        rows,
        notes: vec!["Mitigations that do not concern this processor are left out.".to_owned()],
    });
}

const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";
