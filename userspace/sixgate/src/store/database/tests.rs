//! The database: made, taken over, changed, followed, damaged and put back, in a real directory.

mod undo;

use std::{fs, net::Ipv6Addr, os::unix::fs::PermissionsExt as _, path::Path};

use ipnet::Ipv6Net;
use proptest::prelude::*;
use sixgate_common::dest::OptIn;
use tempfile::TempDir;

use super::{CHANGES_KEPT, CHANGES_KEPT_OF_ONE};
use crate::store::{
    Author, Consent, Contents, Database, Domain, EditOutcome, EntryChange, EntryKey, ListKind, Logged, Marks,
    Origin, PrefixMap, Revision, Since, StartNote, Store, StoreEntry, StoreError, write_document,
};

fn new() -> (TempDir, Store) {
    let directory = TempDir::new().unwrap();
    let store = Store::new(directory.path().join("store.db"));
    store.create().unwrap();
    (directory, store)
}

fn author() -> Author {
    Author { who: "alice".to_owned(), what: "a test".to_owned(), origin: Origin::default() }
}

fn edit<T>(
    database: &mut Database,
    edit: impl FnOnce(&mut super::Edit<'_>) -> Result<T, StoreError>,
) -> Result<(T, Revision), StoreError> {
    database.edit(&author(), edit).map(|edited| (edited.value, edited.after))
}

fn prefix(number: u32) -> Ipv6Net {
    Ipv6Net::new(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(number) << 64), 64).unwrap()
}

fn optin(numbers: std::ops::Range<u32>) -> PrefixMap<OptIn> {
    numbers.map(|number| (prefix(number), OptIn::In)).collect()
}

fn optin_alone(optin: &PrefixMap<OptIn>) -> Contents {
    Contents { optin: optin.clone(), ..Contents::default() }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_new_store_is_empty_and_its_group_may_read_it() {
    let (directory, store) = new();
    let mut database = store.open().unwrap();
    let (contents, revision) = database.contents().unwrap();
    assert_eq!((contents, revision.number()), (Contents::default(), 1));
    edit(&mut database, |edit| edit.add(StoreEntry::Guard(prefix(1)))).unwrap();
    for name in names(directory.path()) {
        let mode = fs::metadata(directory.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o640, "{name}");
    }
    drop(database);
    assert_eq!(names(directory.path()), ["store.db", "store.json.taken-over"]);
    assert!(matches!(store.create(), Err(StoreError::Exists { .. })));
}

#[test]
fn a_store_that_is_missing_is_an_error_and_nothing_is_made() {
    let directory = TempDir::new().unwrap();
    for path in ["store.db", "no/store.db"] {
        let store = Store::new(directory.path().join(path));
        let error = store.open().unwrap_err();
        assert!(matches!(error, StoreError::Missing { .. }), "{error}");
        assert!(error.to_string().contains("is the volume mounted? `sixgate init` makes a new one"));
    }
    assert_eq!(names(directory.path()), Vec::<String>::new());
}

#[test]
fn the_json_file_of_an_earlier_version_is_taken_over_once_and_stays() {
    let directory = TempDir::new().unwrap();
    let json = directory.path().join("store.json");
    let mut contents = Contents { optin: optin(0..3), ..Contents::default() };
    contents.domains.insert("contoso.com".parse().unwrap(), Marks::OPTED_IN);
    let mut text = Vec::new();
    write_document(&contents, &mut text).unwrap();
    fs::write(&json, &text).unwrap();
    // named by the old setting, and by the new one
    let store = Store::new(&json);
    assert_eq!(store.path(), directory.path().join("store.db"));
    let taken = store.take_over().unwrap().unwrap();
    assert_eq!((taken.json.as_path(), taken.entries), (json.as_path(), 4));
    assert_eq!(Store::new(directory.path().join("store.db")).take_over().unwrap(), None);
    assert_eq!(store.open().unwrap().contents().unwrap().0, contents);
    assert_eq!(fs::read(&json).unwrap(), text);
    // the contents of the JSON file are out of date by now
    fs::remove_file(store.path()).unwrap();
    let error = store.open().unwrap_err();
    assert!(matches!(error, StoreError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("`sixgate store import"), "{error}");

    fs::remove_file(directory.path().join("store.json.taken-over")).unwrap();
    fs::write(&json, "{}").unwrap();
    assert!(matches!(store.open(), Err(StoreError::Wrong { line: 1, .. })));
    assert!(!store.path().exists());
}

#[test]
fn each_change_reports_the_outcome_for_its_entry() {
    let (_directory, store) = new();
    let mut database = store.open().unwrap();
    let domain: Domain = "contoso.com".parse().unwrap();
    let (outcomes, revision) = edit(&mut database, |edit| {
        Ok([
            edit.add(StoreEntry::OptIn(prefix(1), OptIn::In))?,
            edit.add(StoreEntry::OptIn(prefix(1), OptIn::In))?,
            edit.add(StoreEntry::OptIn(prefix(1), OptIn::Out))?,
            edit.remove(EntryKey::OptIn(prefix(1)))?,
            edit.remove(EntryKey::OptIn(prefix(1)))?,
            edit.add(StoreEntry::Domain(domain.clone(), Marks::TEMPORARY))?,
            edit.add(StoreEntry::Domain(domain.clone(), Marks::OPTED_IN))?,
            edit.add(StoreEntry::Domain(domain.clone(), Marks::OPTED_IN))?,
            edit.unmark_temporary(domain.clone())?,
            edit.unmark_temporary(domain.clone())?,
            edit.remove(EntryKey::Domain(domain.clone()))?,
            edit.add(StoreEntry::Domain(domain.clone(), Marks::TEMPORARY))?,
            edit.unmark_temporary(domain)?,
        ])
    })
    .unwrap();
    let wanted = [
        "added 2001:db8:0:1::/64 in",
        "unchanged 2001:db8:0:1::/64 in",
        "changed 2001:db8:0:1::/64 out",
        "removed 2001:db8:0:1::/64 out",
        "not there: 2001:db8:0:1::/64",
        "added contoso.com temporary",
        "changed contoso.com in temporary",
        "unchanged contoso.com in temporary",
        "changed contoso.com",
        "not there: contoso.com",
        "removed contoso.com",
        "added contoso.com temporary",
        "removed contoso.com temporary",
    ];
    assert_eq!(outcomes.map(|outcome| outcome.to_string()), wanted);
    assert_eq!(revision.number(), 2);
    let Logged { who, what, .. } = database.log(1).unwrap().remove(0);
    assert_eq!((who.as_str(), what.as_str()), ("alice", "a test"));
    // what changes nothing makes no revision
    let (_, same) = edit(&mut database, |edit| edit.remove(EntryKey::Trust(prefix(1)))).unwrap();
    assert_eq!(same, revision);
}

#[test]
fn a_list_that_is_empty_or_takes_more_than_half_needs_consent() {
    let (_directory, store) = new();
    let mut database = store.open().unwrap();
    let mut load = |wanted: PrefixMap<OptIn>, empty, shrink| {
        let consent = Consent { empty, shrink };
        edit(&mut database, |edit| edit.replace_list(ListKind::OptIn, &optin_alone(&wanted), consent))
            .map(|(replaced, _)| replaced)
    };
    assert!(matches!(load(optin(0..0), false, true), Err(StoreError::EmptyList { .. })));
    let all = load(optin(0..10), false, false).unwrap();
    assert_eq!((all.outcomes.len(), all.unchanged, all.total), (10, 0, 10));
    let half = load(optin(5..15), false, false).unwrap();
    assert_eq!((half.outcomes.len(), half.unchanged, half.total), (10, 5, 10));
    let error = load(optin(11..30), false, false).unwrap_err();
    assert!(matches!(error, StoreError::Shrinks { removed: 6, before: 10, .. }), "{error}");
    assert!(matches!(load(optin(0..0), false, true), Err(StoreError::EmptyList { .. })));
    load(optin(11..30), false, true).unwrap();
    let none = load(optin(0..0), true, false).unwrap();
    assert_eq!((none.outcomes.len(), none.total), (19, 0));
    assert!(matches!(none.outcomes[0], EditOutcome::Removed(_)));
}

#[test]
fn a_follower_makes_the_changes_since_its_revision() {
    let (_directory, store) = new();
    let mut database = store.open().unwrap();
    let (mut contents, mut seen) = database.contents().unwrap();
    let mut other = store.open().unwrap();
    let version = other.version().unwrap();
    assert_eq!(other.version().unwrap(), version);
    edit(&mut database, |edit| {
        edit.replace_list(ListKind::OptIn, &optin_alone(&optin(0..5)), Consent::default())
    })
    .unwrap();
    edit(&mut database, |edit| edit.add(StoreEntry::OptIn(prefix(1), OptIn::Out))).unwrap();
    edit(&mut database, |edit| edit.remove(EntryKey::OptIn(prefix(2)))).unwrap();
    edit(&mut database, |edit| edit.add(StoreEntry::Domain("a.example".parse().unwrap(), Marks::TEMPORARY)))
        .unwrap();
    assert_ne!(other.version().unwrap(), version, "the change of another connection is seen");
    let Since::Changes { changes, revisions, now } = other.since(seen, 100).unwrap() else {
        panic!("the changes are known");
    };
    assert_eq!((changes.len(), revisions.len(), now.number()), (8, 4, 5));
    changes.into_iter().for_each(|change| contents.apply(change));
    assert_eq!(contents, other.contents().unwrap().0);
    assert!(matches!(other.since(seen, 7).unwrap(), Since::Whole { .. }), "more than are wanted");
    seen = now;
    assert!(matches!(
        other.since(seen, 0).unwrap(),
        Since::Changes { changes, .. } if changes.is_empty()
    ));
    // a store that was put back counts on from there
    let elsewhere = Revision::new(seen.number(), seen.stamp() ^ 1);
    assert!(matches!(other.since(elsewhere, 100).unwrap(), Since::Whole { .. }));
    assert!(matches!(other.since(Revision::new(99, 1), 100).unwrap(), Since::Whole { .. }));
}

#[test]
fn the_tables_of_changes_are_bounded() {
    let (_directory, store) = new();
    let mut database = store.open().unwrap();
    let rows = |database: &Database| -> i64 {
        database.connection.query_row("SELECT count(*) FROM changes", (), |row| row.get(0)).unwrap()
    };
    let each = u32::try_from(CHANGES_KEPT_OF_ONE).unwrap();
    let (_, first) = edit(&mut database, |edit| {
        edit.replace_list(ListKind::OptIn, &optin_alone(&optin(0..each)), Consent::default())
    })
    .unwrap();
    for round in 1..4 {
        edit(&mut database, |edit| {
            for number in round * each..(round + 1) * each {
                edit.add(StoreEntry::Trust(prefix(number)))?;
            }
            Ok(())
        })
        .unwrap();
    }
    assert_eq!(rows(&database), CHANGES_KEPT);
    assert!(matches!(database.since(first, usize::MAX).unwrap(), Since::Whole { .. }));
    // a load that is larger keeps none
    let before = database.revision().unwrap();
    edit(&mut database, |edit| {
        edit.replace_list(
            ListKind::OptIn,
            &optin_alone(&optin(each..3 * each + 1)),
            Consent { shrink: true, ..Consent::default() },
        )
    })
    .unwrap();
    assert_eq!(rows(&database), 0);
    assert!(matches!(database.since(before, usize::MAX).unwrap(), Since::Whole { .. }));
    let now = database.revision().unwrap();
    edit(&mut database, |edit| edit.add(StoreEntry::Guard(prefix(1)))).unwrap();
    let Since::Changes { changes, .. } = database.since(now, 10).unwrap() else {
        panic!("known again");
    };
    assert_eq!(changes, [EntryChange::Put(StoreEntry::Guard(prefix(1)))]);
}

#[test]
fn a_damaged_store_is_put_back_from_its_backup_and_kept() {
    let (directory, store) = new();
    let mut database = store.open().unwrap();
    edit(&mut database, |edit| {
        edit.replace_list(ListKind::OptIn, &optin_alone(&optin(0..2000)), Consent::default())
    })
    .unwrap();
    drop(database);
    assert_eq!(store.back_up().unwrap(), Some(2));
    assert_eq!(store.back_up().unwrap(), None, "it is that of this revision");
    let wanted = store.open().unwrap().contents().unwrap();
    let good = fs::read(store.path()).unwrap();
    let mut kept = Vec::new();
    for damage in [b"not a store".to_vec(), Vec::new(), scratched(&good)] {
        fs::write(store.path(), &damage).unwrap();
        let (mut database, note) = store.open_checked().unwrap();
        assert_eq!(database.contents().unwrap(), wanted);
        let Some(StartNote::PutBack { aside, backup, .. }) = note else {
            panic!("a damaged store is reported");
        };
        assert!(fs::read(&aside).unwrap() == damage);
        assert_eq!(backup.revision, 2);
        kept.push(aside.clone());
    }
    fs::remove_file(store.backup_path()).unwrap();
    fs::write(store.path(), "not a store").unwrap();
    assert!(matches!(store.open_checked(), Err(StoreError::Damaged { .. })));
    assert_eq!(fs::read(store.path()).unwrap(), b"not a store");
    fs::remove_file(store.path()).unwrap();
    fs::write(store.backup_path(), good).unwrap();
    assert!(
        matches!(store.open_checked(), Err(StoreError::OnlyBackup { .. })),
        "that it is gone is another matter"
    );
    drop(directory);
}

/// A page in the middle is overwritten.
fn scratched(good: &[u8]) -> Vec<u8> {
    let mut bad = good.to_vec();
    bad[4096 * 3..4096 * 4].fill(0x5a);
    bad
}

#[test]
fn a_store_of_a_later_version_is_named() {
    let (_directory, store) = new();
    store.open().unwrap().connection.pragma_update(None, "user_version", 9).unwrap();
    let error = store.open().unwrap_err();
    assert!(matches!(error, StoreError::OtherForm { found: 9, .. }));
    let wanted = "was written by another version of sixgate (schema 9, this one reads ";
    assert!(error.to_string().contains(wanted), "{error}");
}

/// Each case makes a database.
const CASES: u32 = if cfg!(debug_assertions) { 16 } else { 64 };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]
    #[test]
    fn the_database_and_the_memory_find_the_same_prefix(
        prefixes in prop::collection::vec((any::<u16>(), 0_u8..=128, any::<bool>()), 0..20),
        addresses in prop::collection::vec((any::<u16>(), any::<u16>()), 20),
    ) {
        let (_directory, store) = new();
        let mut database = store.open().unwrap();
        let address = |high: u16, low: u16| {
            // few bits, so that prefixes lie in each other
            Ipv6Addr::from_bits(u128::from(high & 0x8181) << 112 | u128::from(low & 0x0103))
        };
        let optin: PrefixMap<OptIn> = prefixes
            .into_iter()
            .map(|(bits, length, is_in)| {
                let prefix = Ipv6Net::new(address(bits, bits), length).unwrap();
                (prefix, if is_in { OptIn::In } else { OptIn::Out })
            })
            .collect();
        let contents = Contents { optin, ..Contents::default() };
        let consent = Consent { empty: true, shrink: true };
        edit(&mut database, |edit| edit.replace_all(&contents, consent)).unwrap();
        for (high, low) in addresses {
            let address = address(high, low);
            prop_assert_eq!(database.optin_rule(address).unwrap(), contents.optin_rule(address));
        }
        prop_assert_eq!(database.contents().unwrap().0, contents);
    }
}
