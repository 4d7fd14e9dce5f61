//! A store that is damaged or gone: the message leads to one that works.

use std::{fs, os::unix::fs::symlink};

use crate::place::Place;

#[test]
fn a_damaged_store_without_a_backup_is_led_out_of_by_what_is_said() {
    let place = Place::new();
    place.done("optin add 2001:db8::/32");
    fs::write(place.path("exported"), place.contents()).unwrap();
    fs::write(place.store(), "no database").unwrap();
    let store = place.store().display().to_string();
    let wanted = format!(
        "there is no backup {store}.old: move the store away (`mv {store} {store}.damaged`), then `sixgate init` makes a new \
         one, and `sixgate store import FILE` fills it with what `sixgate store export` printed"
    );
    for (words, code) in [("optin list", 2), ("status", 1), ("serve --no-xdp", 2), ("config check", 0)] {
        place.fails(words, code, &wanted);
    }
    let failed = place.run("store restore");
    assert_eq!(failed.code, Some(2), "{failed:?}");
    let wanted = "`sixgate init` makes a new store, once the damaged one is moved away";
    assert!(failed.messages.contains(wanted), "{failed:?}");
    fs::rename(place.store(), format!("{store}.damaged")).unwrap();
    place.done("init");
    place.done(&format!("store import {}", place.path("exported").display()));
    assert_eq!(place.done("optin list"), "2001:db8::/32 in\n");
}

#[test]
fn a_store_that_is_gone_with_its_backup_is_named_and_made_anew() {
    let place = Place::new();
    fs::remove_file(place.store()).unwrap();
    let wanted =
        format!("there is no backup {}.old to put back: `sixgate init` makes", place.store().display());
    place.fails("store restore", 2, &wanted);
    place.fails("config check", 0, "warning: no opt-in store at ");
    place.done("init");
    assert_eq!(place.done("optin list"), "");
}

#[test]
fn a_store_that_is_a_link_to_nothing_is_named_with_both_places() {
    let place = Place::new();
    let (store, target) = (place.store(), place.path("volume/store.db"));
    fs::remove_file(&store).unwrap();
    symlink(&target, &store).unwrap();
    let wanted = format!(
        "the opt-in store {} is a symbolic link to {}, which is not there: is the volume mounted? To make a new store: `rm {}`, \
         then `sixgate init`",
        store.display(),
        target.display(),
        store.display()
    );
    for (words, code) in
        [("optin list", 2), ("status", 1), ("init", 2), ("store restore", 2), ("serve --no-xdp", 2)]
    {
        place.fails(words, code, &wanted);
    }
    assert!(!target.exists());
    fs::remove_file(&store).unwrap();
    place.done("init");
    assert_eq!(place.done("optin list"), "");
}
