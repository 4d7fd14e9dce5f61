//! The audit log and its bounds, stores of earlier versions, and that an undo is the reversal of a
//! change.

use super::*;
use crate::store::{AuditQuery, EntryDifference, Undo};

const ALL: AuditQuery =
    AuditQuery { number: None, since: None, list: None, changes: 1000, entries: usize::MAX };

fn undo(database: &mut Database, number: u64, force: bool) -> Result<Vec<EditOutcome>, StoreError> {
    let consent = Consent { empty: true, shrink: true };
    edit(database, |edit| edit.undo(Undo { number, force, consent })).map(|(outcomes, _)| outcomes)
}

#[test]
fn an_entry_that_a_change_concerns_twice_is_undone_to_its_first_state() {
    let (_directory, store) = new();
    let mut database = store.open().unwrap();
    edit(&mut database, |edit| edit.add(StoreEntry::OptIn(prefix(1), OptIn::In))).unwrap();
    edit(&mut database, |edit| {
        edit.add(StoreEntry::OptIn(prefix(1), OptIn::Out))?;
        edit.remove(EntryKey::OptIn(prefix(1)))?;
        edit.add(StoreEntry::Trust(prefix(2)))?;
        edit.remove(EntryKey::Trust(prefix(2)))
    })
    .unwrap();
    let outcomes = undo(&mut database, 3, false).unwrap();
    assert_eq!(outcomes, [EditOutcome::Added(StoreEntry::OptIn(prefix(1), OptIn::In))]);
    assert_eq!(undo(&mut database, 3, false).unwrap(), [], "it is as before");
}

#[test]
fn a_change_beyond_the_bounds_is_shown_without_entries_and_not_undone() {
    let (_directory, store) = new();
    let mut database = store.open().unwrap();
    let each = u32::try_from(CHANGES_KEPT_OF_ONE).unwrap();
    for (round, kept) in [(0, 1), (1, 2), (2, 2)] {
        edit(&mut database, |edit| {
            for number in round * each..(round + 1) * each {
                edit.add(StoreEntry::Trust(prefix(number)))?;
            }
            Ok(())
        })
        .unwrap();
        let log = database.audit(&AuditQuery { entries: 1, ..ALL }).unwrap();
        let is_kept: Vec<bool> = log.changes.iter().map(|change| change.is_kept).collect();
        // the first change of the store has no entries
        assert_eq!(is_kept.iter().filter(|is_kept| **is_kept).count(), kept + 1, "{round}");
        assert_eq!(log.changes[0].left_out, u64::from(each) - 1);
    }
    let error = undo(&mut database, 2, false).unwrap_err();
    assert!(matches!(error, StoreError::EntriesNotKept { number: 2 }), "{error}");
    assert!(error.to_string().contains("at most 100000 of one change, 200000 of all"), "{error}");
    assert_eq!(undo(&mut database, 4, false).unwrap().len(), CHANGES_KEPT_OF_ONE as usize);
    assert!(matches!(undo(&mut database, 1, false), Err(StoreError::NothingToUndo { number: 1 })));
    database.connection.execute_batch("DELETE FROM revisions WHERE number = 1").unwrap();
    for (number, is_old) in [(0, false), (1, true), (99, false)] {
        let error = undo(&mut database, number, false).unwrap_err();
        assert!(matches!(error, StoreError::NoChange { is_old: found, .. } if found == is_old), "{error}");
    }
}

#[test]
fn a_store_of_an_earlier_version_is_audited_and_records_more_from_now_on() {
    let (_directory, store) = new();
    let mut database = store.open().unwrap();
    edit(&mut database, |edit| edit.add(StoreEntry::OptIn(prefix(1), OptIn::In))).unwrap();
    edit(&mut database, |edit| edit.add(StoreEntry::Trust(prefix(1)))).unwrap();
    for column in ["uid", "login", "host", "lists"] {
        let drop = format!("ALTER TABLE revisions DROP COLUMN {column}");
        database.connection.execute_batch(&drop).unwrap();
    }
    let numbers = |database: &mut Database, list| -> Vec<u64> {
        let log = database.audit(&AuditQuery { list: Some(list), ..ALL }).unwrap();
        log.changes.iter().map(|change| change.logged.number).collect()
    };
    assert_eq!(numbers(&mut database, ListKind::OptIn), [2]);
    assert_eq!(numbers(&mut database, ListKind::Trust), [3]);
    assert_eq!(database.audit(&ALL).unwrap().changes[0].origin, Origin::default());
    let origin = Origin { uid: Some(7), login: Some("alice".to_owned()), host: Some("gate".to_owned()) };
    let author = Author { origin: origin.clone(), ..author() };
    database.edit(&author, |edit| edit.add(StoreEntry::Guard(prefix(1)))).unwrap();
    let log = database.audit(&ALL).unwrap();
    assert_eq!((&log.changes[0].origin, log.oldest, log.has_more), (&origin, 1, false));
    let wanted = EntryDifference {
        list: ListKind::Guard,
        key: EntryKey::Guard(prefix(1)),
        before: None,
        after: Some(StoreEntry::Guard(prefix(1))),
    };
    assert_eq!(log.changes[0].entries, [wanted]);
    assert_eq!(numbers(&mut database, ListKind::Trust), [3]);
    assert_eq!(numbers(&mut database, ListKind::Guard), [4]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]
    #[test]
    fn changes_undone_from_the_last_on_lead_back_to_the_first_contents(
        changes in prop::collection::vec(prop::collection::vec((0_u8..6, 0_u32..5), 1..6), 1..8),
    ) {
        let (_directory, store) = new();
        let mut database = store.open().unwrap();
        let mut states = vec![(1, database.contents().unwrap().0)];
        for change in changes {
            let (_, revision) = edit(&mut database, |edit| {
                for (kind, number) in change {
                    let prefix = prefix(number);
                    let domain: Domain = format!("d{number}.example").parse().unwrap();
                    match kind {
                        0 => edit.add(StoreEntry::OptIn(prefix, OptIn::In))?,
                        1 => edit.add(StoreEntry::OptIn(prefix, OptIn::Out))?,
                        2 => edit.remove(EntryKey::OptIn(prefix))?,
                        3 => edit.add(StoreEntry::Domain(domain, Marks::TEMPORARY))?,
                        4 => edit.remove(EntryKey::Domain(domain))?,
                        _ => edit.add(StoreEntry::Trust(prefix))?,
                    };
                }
                Ok(())
            })
            .unwrap();
            if revision.number() != states.last().unwrap().0 {
                states.push((revision.number(), database.contents().unwrap().0));
            }
        }
        let last = states.last().unwrap().1.clone();
        let count = states.len() - 1;
        for pair in states.windows(2).rev() {
            // forced: the undo of a later change is a later change
            undo(&mut database, pair[1].0, true).unwrap();
            prop_assert_eq!(&database.contents().unwrap().0, &pair[0].1);
        }
        // the undos are changes, too, unless a change had no effect in the end
        let log = database.audit(&ALL).unwrap();
        let undos: Vec<u64> = log.changes.iter().map(|change| change.logged.number).take_while(|number| *number > states.last().unwrap().0).collect();
        prop_assert!(undos.len() <= count);
        for number in undos {
            undo(&mut database, number, true).unwrap();
        }
        prop_assert_eq!(&database.contents().unwrap().0, &last);
    }
}
