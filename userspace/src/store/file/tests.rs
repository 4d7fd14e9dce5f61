//! The file: durability, rights, locks and the watch, on a real directory.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, sync::mpsc, thread, time::Duration};

use tempfile::TempDir;
use tokio::time::timeout;

use crate::store::{Contents, OptIn, Store, StoreError, watch};

fn store() -> (TempDir, Store) {
    let directory = TempDir::new().unwrap();
    let store = Store::new(directory.path().join("store.json"));
    (directory, store)
}

fn contents(prefixes: &[&str]) -> Contents {
    Contents {
        optin: prefixes.iter().map(|prefix| (prefix.parse().unwrap(), OptIn::In)).collect(),
        ..Contents::default()
    }
}

fn names(directory: &TempDir) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name().into()).collect();
    names.sort();
    names
}

#[test]
fn what_was_written_is_read_and_nothing_is_left_beside_but_the_lock() {
    let (directory, store) = store();
    let wanted = contents(&["2001:db8::/32"]);
    store.own().unwrap().write(&wanted).unwrap();
    assert_eq!(store.read().unwrap(), wanted);
    assert_eq!(names(&directory), ["store.json", "store.json.lock"].map(PathBuf::from));
    let mode = fs::metadata(store.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
}

#[test]
fn a_missing_file_is_an_empty_store_and_a_missing_directory_is_an_error() {
    let (directory, store) = store();
    assert_eq!(store.read().unwrap(), Contents::default());
    assert_eq!(store.read_if_there().unwrap(), None);
    let lost = Store::new(directory.path().join("no/store.json"));
    assert!(matches!(lost.read(), Err(StoreError::NoDirectory { .. })));
    assert!(matches!(lost.own(), Err(StoreError::NoDirectory { .. })));
}

#[test]
fn reading_under_the_lock_makes_no_file() {
    let (directory, store) = store();
    assert_eq!(store.share().unwrap().read().unwrap(), Contents::default());
    assert_eq!(names(&directory), Vec::<PathBuf>::new());
}

#[test]
fn what_a_killed_writer_left_is_overwritten() {
    let (directory, store) = store();
    let aside = directory.path().join("store.json.new");
    fs::write(&aside, "{ \"version\": 1, \"opt").unwrap();
    assert_eq!(store.read().unwrap(), Contents::default());
    store.own().unwrap().write(&contents(&["::/0"])).unwrap();
    assert_eq!(store.read().unwrap(), contents(&["::/0"]));
    assert!(!aside.exists());
}

#[test]
fn a_write_that_fails_leaves_what_was_there() {
    let (directory, store) = store();
    let before = contents(&["2001:db8::/32"]);
    store.own().unwrap().write(&before).unwrap();
    fs::create_dir(directory.path().join("store.json.new")).unwrap();
    let error = store.own().unwrap().write(&contents(&[])).unwrap_err();
    assert!(error.to_string().starts_with("cannot remove "), "{error}");
    assert_eq!(store.read().unwrap(), before);
}

#[test]
fn a_writer_waits_until_readers_under_the_lock_are_done() {
    let (_directory, store) = store();
    store.own().unwrap().write(&Contents::default()).unwrap();
    let shared = store.share().unwrap();
    let also_shared = store.share().unwrap();
    let (told, heard) = mpsc::channel();
    let writer = store.clone();
    let thread = thread::spawn(move || {
        let owned = writer.own();
        told.send(()).unwrap();
        owned.unwrap().write(&contents(&["::/0"])).unwrap();
    });
    assert!(heard.recv_timeout(Duration::from_millis(100)).is_err());
    assert_eq!(shared.read().unwrap(), Contents::default());
    drop((shared, also_shared));
    thread.join().unwrap();
    assert_eq!(store.read().unwrap(), contents(&["::/0"]));
}

#[tokio::test]
async fn a_change_a_deletion_and_a_recreation_are_told_and_reading_is_not() {
    const LONG: Duration = Duration::from_secs(10);
    const SHORT: Duration = Duration::from_millis(50);
    let (_directory, store) = store();
    let mut watch = watch(store.path()).unwrap();
    store.own().unwrap().write(&contents(&["::/0"])).unwrap();
    timeout(LONG, watch.changed()).await.expect("creation");
    while timeout(SHORT, watch.changed()).await.is_ok() {}
    for _ in 0..10 {
        store.share().unwrap().read().unwrap();
    }
    assert!(timeout(SHORT, watch.changed()).await.is_err(), "reading");
    fs::remove_file(store.path()).unwrap();
    timeout(LONG, watch.changed()).await.expect("deletion");
    store.own().unwrap().write(&contents(&[])).unwrap();
    timeout(LONG, watch.changed()).await.expect("recreation");
}
