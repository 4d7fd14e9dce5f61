//! Where BPF file systems are mounted, by the kernel's list of mounts.
//!
//! It mounts nothing, and looks into none of them.

use std::{fs, path::PathBuf};

/// Where distributions mount the bpffs.
pub(super) const USUAL_MOUNT: &str = "/sys/fs/bpf";

/// Where a bpffs is mounted in this mount namespace.
pub(super) fn bpf_mounts() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut mounts: Vec<PathBuf> = text.lines().filter_map(bpf_mount).take(MOUNTS_MAX).collect();
    mounts.dedup();
    mounts
}

/// The first bpffs that is mounted read-only.
pub(super) fn read_only_mount() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    text.lines().filter(|line| is_read_only(line)).find_map(bpf_mount)
}

/// Whether a line of mountinfo is of a mount, or of a file system, that cannot be written.
fn is_read_only(line: &str) -> bool {
    let has_ro = |options: Option<&str>| {
        options.is_some_and(|options| options.split(',').any(|option| option == "ro"))
    };
    has_ro(line.split(' ').nth(5)) || has_ro(line.rsplit(' ').next())
}

/// The mount point in a line of mountinfo (proc_pid_mountinfo(5)), if a bpffs is mounted there.
fn bpf_mount(line: &str) -> Option<PathBuf> {
    let (mount, kind) = line.split_once(" - ")?;
    let is_bpf = kind.split(' ').next() == Some("bpf");
    let path = mount.split(' ').nth(4).filter(|_| is_bpf)?;
    Some(PathBuf::from(unescaped(path)))
}

/// Blanks, line ends and backslashes are written as three octal digits there.
fn unescaped(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (written, meant)| path.replace(written, meant))
}

/// How many mounts are looked at.
const MOUNTS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn mounts_of_a_bpffs_are_read_out_of_mountinfo() {
        let rows = [
            ("31 24 0:27 / /sys/fs/bpf rw,nosuid shared:9 - bpf bpf rw,mode=700", Some("/sys/fs/bpf")),
            ("77 24 0:99 / /run/my\\040bpf rw - bpf none rw", Some("/run/my bpf")),
            ("24 1 0:22 / /sys rw,nosuid shared:2 - sysfs sysfs rw", None),
            ("no line", None),
        ];
        for (line, wanted) in rows {
            assert_eq!(bpf_mount(line).as_deref(), wanted.map(Path::new), "{line}");
        }
    }
}
