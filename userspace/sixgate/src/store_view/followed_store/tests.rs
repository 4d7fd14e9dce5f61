//! Claims about a store that cannot be read as a whole; what the daemon logs of it is in the
//! suites.

use std::{fs, path::Path};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::{store::Store, store_view::StoreView};

/// Longest wait for the thread that reads the whole.
const WAIT: Duration = Duration::from_secs(60);

/// Waits until the store has a problem, or has none.
fn wait_for(view: &StoreView, has_trouble: bool) -> Option<String> {
    let begun = Instant::now();
    loop {
        let trouble = view.trouble();
        let is_reading = view.0.is_reading.load(Ordering::Acquire);
        if trouble.is_some() == has_trouble && !is_reading {
            return trouble;
        }
        assert!(begun.elapsed() < WAIT, "{trouble:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Replaces `store` by another, new one; `is_whole`: whether all of it can be read.
fn replace(store: &Path, is_whole: bool) {
    let other = store.with_file_name("other.db");
    Store::new(&other).create().unwrap();
    if !is_whole {
        let connection = Connection::open(&other).unwrap();
        connection.execute("DROP TABLE entries", ()).unwrap();
    }
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", store.display()));
    }
    fs::rename(&other, store).unwrap();
}

#[test]
fn a_whole_read_that_fails_is_a_problem_until_one_succeeds() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.db");
    let store = Store::new(&path);
    store.create().unwrap();
    let view = StoreView::open(store, || None).unwrap();
    assert_eq!(wait_for(&view, false), None);
    replace(&path, false);
    let trouble = wait_for(&view, true).unwrap();
    assert!(trouble.starts_with(UNREADABLE), "{trouble}");
    // it is logged once: an attempt that is under way leaves the problem as it is
    lock(&view.0.reader).retry = None;
    assert_eq!(view.trouble().as_ref(), Some(&trouble));
    assert_eq!(wait_for(&view, true), Some(trouble));
    replace(&path, true);
    assert_eq!(wait_for(&view, false), None);
}
