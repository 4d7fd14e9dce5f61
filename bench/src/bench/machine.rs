//! The facts about the machine without which a figure cannot be compared with another machine's.
//!
//! It measures nothing.

use std::fs;

use super::report::{Report, Section};

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
    let mut notes = vec![
        format!("processor: {processor}"),
        format!("kernel: {}", read("/proc/sys/kernel/osrelease")),
        format!("bpf_jit_harden: {}", read("/proc/sys/net/core/bpf_jit_harden")),
    ];
    let mut mitigations: Vec<String> = fs::read_dir(VULNERABILITIES)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .map(|name| (read(&format!("{VULNERABILITIES}/{name}")), name))
        .filter(|(state, _)| state != "Not affected")
        .map(|(state, name)| format!("{name}: {state}"))
        .collect();
    mitigations.sort();
    notes.extend(mitigations);
    report.sections.push(Section { title: "The machine", columns: vec![""], rows: Vec::new(), notes });
}

const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";
