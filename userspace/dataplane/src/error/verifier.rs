//! The verifier's log: which failure it is about, and the line of it that is shown.
//!
//! It loads nothing.

use crate::kernel;

/// Whether the log is about missing rights.
pub(super) fn is_about_rights(log: &str) -> bool {
    log.contains(NOT_ROOT)
}

/// The verifier's reason: the last line of its log that is not a statistic.
pub(super) fn reason(log: &str) -> String {
    let complaint = log
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| !line.is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start)));
    let kernel = kernel::this_kernel();
    match complaint.map(bounded) {
        Some(line) if UNKNOWN_HELPER.iter().any(|start| line.starts_with(start)) => {
            format!("{kernel} lacks a helper that the XDP program calls ({line})")
        }
        Some(line) => format!("the verifier of {kernel} refused the XDP program ({line})"),
        None => format!("{kernel} lacks XDP programs with multi-buffer support (BPF_F_XDP_HAS_FRAGS)"),
    }
}

fn bounded(line: &str) -> &str {
    line.char_indices().nth(COMPLAINT_MAX).map_or(line, |(end, _)| &line[..end])
}

/// How the verifier reports that CAP_PERFMON is missing (kernel/bpf/verifier.c, `sanitize_err`).
const NOT_ROOT: &str = "prohibited for !root";
/// How verifiers report that the kernel does not have a helper, or not for XDP
/// (kernel/bpf/verifier.c, `check_helper_call`).
const UNKNOWN_HELPER: [&str; 3] = ["unknown func", "invalid func", "program of this type cannot use helper"];
/// Beginnings of the verifier's closing statistics (kernel/bpf/verifier.c,
/// `print_verification_stats`).
const STATISTICS: [&str; 4] = ["processed ", "verification time", "stack depth", "mark_precise"];
/// Characters of the verifier's complaint that are shown.
pub(super) const COMPLAINT_MAX: usize = 200;
