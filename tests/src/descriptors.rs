//! How many files a daemon may have open: what it has, and a limit that leaves it a few more.
//!
//! It opens none of the daemon's, and closes none.

use std::{collections::BTreeSet, fs, process::Command};

use crate::daemon::Daemon;

/// Open descriptors of the daemon, without those that it has for a moment only.
///
/// # Panics
/// If it has ended.
#[must_use]
pub fn descriptors(daemon: &Daemon) -> BTreeSet<u32> {
    let look = || -> BTreeSet<u32> {
        let entries = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    };
    (0..LOOKS).fold(look(), |open, _| &open & &look())
}

/// How often the daemon's descriptors are looked at.
const LOOKS: usize = 100;

/// Lets the daemon open `free` more descriptors, and no more: each gets the lowest number that is
/// free, and the limit is one of numbers (getrlimit(2)).
///
/// # Panics
/// If prlimit fails.
pub fn leave_free(daemon: &Daemon, free: usize) {
    let open = descriptors(daemon);
    let numbers = (0..u32::MAX).filter(|number| !open.contains(number));
    let limit = numbers.into_iter().nth(free).unwrap();
    let done = Command::new("prlimit")
        .args(["--pid", &daemon.pid().to_string(), &format!("--nofile={limit}:")])
        .status()
        .unwrap();
    assert!(done.success(), "prlimit: {done}");
}
