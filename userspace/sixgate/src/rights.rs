//! The rights of this process (capabilities(7)): whether it can attach the XDP program by itself.
//!
//! It asks the kernel; no setting decides.

use std::fs;

/// Whether this process has what loading and attaching an XDP program needs.
#[must_use]
pub(crate) fn can_attach() -> bool {
    // a kernel that does not tell refuses the attempt itself
    fs::read_to_string(STATUS).map_or(true, |status| effective(&status).is_none_or(suffices))
}

/// The effective capabilities in /proc/PID/status (proc_pid_status(5)), as bits.
fn effective(status: &str) -> Option<u64> {
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(bits.trim(), 16).ok()
}

fn suffices(capabilities: u64) -> bool {
    let has = |capability: u32| capabilities & (1 << capability) != 0;
    // CAP_SYS_ADMIN stands for the two that were parts of it until Linux 5.8
    has(CAP_NET_ADMIN) && (has(CAP_SYS_ADMIN) || has(CAP_BPF) && has(CAP_PERFMON))
}

const STATUS: &str = "/proc/self/status";
/// Numbers of include/uapi/linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attaching_needs_net_admin_and_the_loading_of_programs() {
        let all = (1 << CAP_NET_ADMIN) | (1 << CAP_BPF) | (1 << CAP_PERFMON);
        assert!(suffices(all));
        assert!(suffices((1 << CAP_NET_ADMIN) | (1 << CAP_SYS_ADMIN)));
        for lacking in [CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON] {
            assert!(!suffices(all & !(1 << lacking)), "{lacking}");
        }
        assert_eq!(effective("Name:\tsixgate\nCapEff:\t0000008000000400\n"), Some(0x80_0000_0400));
        assert_eq!(effective("Name:\tsixgate\n"), None);
    }
}
