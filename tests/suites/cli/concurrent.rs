//! Several commands at once, and commands that are killed: no change is lost, and the store is
//! always whole.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, PipeReader},
    os::{fd::AsFd as _, unix::process::ExitStatusExt},
    process::{ExitStatus, Stdio},
    thread,
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::inotify::{AddWatchFlags, InitFlags, Inotify},
};
use sixgate_tests::timeouts::patience;

use crate::installation::Installation;

#[test]
fn two_processes_that_add_at_once_lose_nothing() {
    const EACH: usize = 20;
    let place = Installation::new();
    thread::scope(|scope| {
        for process in 1..=2 {
            let place = &place;
            scope.spawn(move || {
                for at in 1..=EACH {
                    place.done(&format!("optin add 2001:db8:{process}::{at:x}"));
                }
            });
        }
    });
    let listed = place.done("optin list");
    let wanted: BTreeSet<String> = (1..=2)
        .flat_map(|process| (1..=EACH).map(move |at| format!("2001:db8:{process}::{at:x}/128 in")))
        .collect();
    assert_eq!(listed.lines().map(str::to_owned).collect::<BTreeSet<_>>(), wanted);
}

/// The writer is killed when its log has grown by one more step, so that each run is cut off at
/// another point.
#[test]
fn a_writer_that_is_killed_leaves_the_old_store_or_the_new_one() {
    const ENTRIES: usize = 8_000;
    const RUNS: u64 = 15;
    const STEP: u64 = 60_000;
    let place = Installation::new();
    let list = |network: usize| -> String {
        (1..=ENTRIES).map(|at| format!("2001:db8:{network}::{at:x}/128 in\n")).collect()
    };
    for network in [1, 2] {
        fs::write(place.path(&format!("list{network}")), list(network)).unwrap();
    }
    place.done(&format!("optin load {}", place.path("list1").display()));
    let sizes =
        |place: &Installation| fs::metadata(place.path("state/store.db-wal")).map(|found| found.len()).ok();
    let mut killed = 0;
    let mut network = 1;
    for run in 0..RUNS {
        let next = 3 - network;
        let words = format!("optin load --allow-shrink {}", place.path(&format!("list{next}")).display());
        let grown = || sizes(&place).is_some_and(|size| size >= run * STEP);
        let ended = killed_when(&place, &words, grown);
        killed += u32::from(ended.signal().is_some());
        let found = place.done("optin list");
        network = if found == list(next) { next } else { network };
        assert!(found == list(network), "run {run}: neither list is whole");
        // the next command clears up what was left aside
        assert_eq!(place.state(), ["store.db", "store.json.taken-over"], "run {run}");
    }
    assert!(killed > 0, "no writer was killed: the test shows nothing");
}

/// Runs a command, and kills it once a change of the store's files makes it `due`.
fn killed_when(place: &Installation, words: &str, due: impl Fn() -> bool) -> ExitStatus {
    let changes = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
    changes.add_watch(&place.path("state"), AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY).unwrap();
    // it has the other end of this pipe as long as it runs
    let (end, held) = io::pipe().unwrap();
    let mut child = place.command(words).stdin(held).stdout(Stdio::null()).spawn().unwrap();
    while file_changes_before_end(&changes, &end) {
        if due() {
            child.kill().unwrap();
            break;
        }
    }
    child.wait().unwrap()
}

/// Waits until a file changes; false if the command ends.
fn file_changes_before_end(changes: &Inotify, end: &PipeReader) -> bool {
    let mut ready = [changes.as_fd(), end.as_fd()].map(|file| PollFd::new(file, PollFlags::POLLIN));
    poll(&mut ready, PollTimeout::try_from(patience()).unwrap()).unwrap();
    if ready[0].any() == Some(true) {
        changes.read_events().unwrap();
        return true;
    }
    assert_eq!(ready[1].any(), Some(true), "the command neither changes a file nor ends");
    false
}
