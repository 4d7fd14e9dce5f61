//! A store that is damaged or gone: the message leads to one that works.

use std::{fs, os::unix::fs::symlink, path::PathBuf};

use crate::installation::Installation;

#[test]
fn a_damaged_store_without_a_backup_is_left_by_the_printed_commands() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32");
    fs::write(place.path("exported"), place.contents()).unwrap();
    fs::write(place.store(), "no database").unwrap();
    let store = place.store().display().to_string();
    let wanted = format!(
        "there is no backup {store}.old: move the store away with its logs (`mv {store} {store}-wal {store}-shm DIR`; the \
         logs may be missing), then `sixgate init` makes a new one, and `sixgate store import FILE` fills it with what \
         `sixgate store export` printed"
    );
    for (words, code) in [("optin list", 2), ("status", 1), ("serve --no-xdp", 2), ("config check", 0)] {
        place.fails(words, code, &wanted);
    }
    let failed = place.run("store restore");
    assert_eq!(failed.code, Some(2), "{failed:?}");
    let wanted = format!("there is no backup {store}.old to put back; nothing was changed");
    assert!(failed.messages.contains(&wanted), "{failed:?}");
    fs::rename(place.store(), format!("{store}.damaged")).unwrap();
    place.done("init");
    place.done(&format!("store import {}", place.path("exported").display()));
    assert_eq!(place.done("optin list"), "2001:db8::/32 in\n");
}

#[test]
fn a_store_that_is_gone_with_its_backup_is_named_and_made_anew() {
    let place = Installation::new();
    fs::remove_file(place.store()).unwrap();
    let wanted =
        format!("there is no backup {}.old to put back; `sixgate init` makes", place.store().display());
    place.fails("store restore", 2, &wanted);
    place.fails("config check", 0, "warning: no opt-in store at ");
    place.done("init");
    assert_eq!(place.done("optin list"), "");
}

#[test]
fn a_store_that_is_a_dangling_link_is_named_with_both_paths() {
    let place = Installation::new();
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

#[test]
fn a_damaged_an_empty_and_a_good_store_are_distinguished() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32");
    let store = place.store().display().to_string();
    let good = format!(
        "is good; nothing was changed. To go back to its backup {store}.old: `sixgate store restore --force`"
    );
    place.fails("store restore", 2, &good);
    fs::write(place.store(), "no database").unwrap();
    place.fails("init --force", 2, "is damaged: ");
    fs::write(place.store(), "").unwrap();
    place.fails("optin list", 2, "is damaged: it is empty;");
}

/// The backup, as the daemon makes it at its start.
fn back_up(place: &Installation) -> PathBuf {
    let backup = place.path("state/store.db.old");
    fs::copy(place.store(), &backup).unwrap();
    backup
}

#[test]
fn a_lost_store_comes_from_its_backup_not_from_an_export_beside_it() {
    let place = Installation::new();
    place.done("optin add 2001:db8:1::/48");
    fs::write(place.path("state/store.json"), place.contents()).unwrap();
    place.done("optin add 2001:db8:2::/48");
    fs::remove_file(place.store()).unwrap();
    place.fails("optin list", 2, "which may be out of date");
    place.done("init");
    place.done("optin add 2001:db8:1::/48 2001:db8:2::/48");
    let backup = back_up(&place);
    fs::remove_file(place.store()).unwrap();
    // a store of a version that did not mark its making
    fs::remove_file(place.path("state/store.json.taken-over")).unwrap();
    let only =
        format!("only its backup {}: is the volume mounted? `sixgate store restore`", backup.display());
    for words in ["optin list", "init", "serve --no-xdp"] {
        place.fails(words, 2, &only);
    }
    assert!(!place.store().exists());
    place.done("store restore");
    assert_eq!(place.done("optin list"), "2001:db8:1::/48 in\n2001:db8:2::/48 in\n");
}

#[test]
fn init_by_force_keeps_the_backup_of_the_lost_store() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32");
    let backup = back_up(&place);
    let saved = fs::read(&backup).unwrap();
    for kept in ["state/store.db.old.1", "state/store.db.old.2"] {
        fs::remove_file(place.store()).unwrap();
        place.fails("init", 2, "`sixgate init --force` makes an empty store and keeps the backup");
        place.done("init --force");
        assert_eq!(place.done("optin list"), "");
        assert_eq!(fs::read(place.path(kept)).unwrap(), saved);
        assert!(!backup.exists());
        fs::write(&backup, &saved).unwrap();
    }
}

#[test]
fn a_good_store_gives_way_to_its_backup_by_force_and_is_kept() {
    let place = Installation::new();
    place.done("optin add 2001:db8:1::/48");
    back_up(&place);
    place.done("optin remove --allow-empty 2001:db8:1::/48");
    place.fails("store restore", 2, "nothing was changed");
    let printed = place.done("store restore --force");
    let kept = place.path("state/store.db.replaced");
    assert!(printed.ends_with(&format!("the store of before is kept as {}\n", kept.display())), "{printed}");
    assert_eq!(place.done("optin list"), "2001:db8:1::/48 in\n");
    fs::rename(kept, place.store()).unwrap();
    assert_eq!(place.done("optin list"), "");
    // nothing to go back to
    fs::remove_file(place.path("state/store.db.old")).unwrap();
    place.fails("store restore --force", 2, "to put back; nothing was changed");
    assert_eq!(place.done("optin list"), "");
}

#[test]
fn domains_that_were_taken_once_are_read_again() {
    let place = Installation::new();
    fs::remove_file(place.store()).unwrap();
    fs::remove_file(place.path("state/store.json.taken-over")).unwrap();
    let earlier =
        "{\"version\": 1, \"optin\": {}, \"guard\": [], \"trust\": [],\n \"domains\": [\"1.2.3.4\"]}";
    fs::write(place.path("state/store.json"), earlier).unwrap();
    assert_eq!(place.done("domain list"), "1.2.3.4\n");
    for (words, text) in [("store import", place.contents()), ("domain load", place.done("domain list"))] {
        fs::write(place.path("list"), text).unwrap();
        let printed = place.done(&format!("{words} {}", place.path("list").display()));
        assert_eq!(printed, "0 added, 0 changed, 0 removed, 1 unchanged, 1 in all\n", "{words}");
    }
    place.fails("domain add 1.2.3.4", 2, "is not a domain name but an address");
    place.fails(
        "init --next-hop maildir:/var/mail/gate --dry-run --domain 1.2.3.4",
        2,
        "is not a domain name but an address",
    );
    place.done("domain remove --allow-empty 1.2.3.4");
}

#[test]
fn no_other_file_may_be_one_of_the_store() {
    let place = Installation::new();
    // named by an earlier version's file, the store is beside that
    for name in ["store.db", "store.db-wal", "store.db.old", "store.db.replaced", "store.json"] {
        let text = format!(
            "hostname = \"gate.example\"\nstore = {:?}\n[metrics]\nfile = {:?}\n",
            place.path("state/store.json"),
            place.path("state").join(name)
        );
        fs::write(place.config(), text).unwrap();
        place.fails("config check", 1, "are the same file");
    }
}

#[test]
fn a_file_that_has_no_object_is_reported_in_terms_of_json() {
    let place = Installation::new();
    for text in ["null", "[]", "\"\""] {
        fs::write(place.path("wrong"), text).unwrap();
        let failed = place.run(&format!("store import {}", place.path("wrong").display()));
        assert_eq!(failed.code, Some(2), "{failed:?}");
        assert!(
            failed.messages.contains("expected an object as `sixgate store export` prints it"),
            "{failed:?}"
        );
        assert!(!failed.messages.contains("struct"), "{failed:?}");
    }
}

#[test]
fn a_start_that_fails_is_logged_with_time_and_level() {
    let place = Installation::new();
    fs::remove_file(place.store()).unwrap();
    let failed = place.run("serve --no-xdp");
    assert_eq!(failed.code, Some(2), "{failed:?}");
    let line =
        failed.messages.lines().find(|line| line.contains("cannot start without the opt-in store")).unwrap();
    assert!(line.starts_with("20") && line.contains(" ERROR "), "{line}");
}

#[test]
fn settings_that_defer_or_refuse_all_mail_are_warned_of() {
    let place = Installation::new();
    for (settings, wanted) in [
        ("", "warning: hostname is gate.example, a name for examples (RFC 2606)"),
        ("dns.timeout = \"1h\"", "warning: dns.timeout is 3600s"),
        ("limits.dns_questions_per_minute = 1", "warning: limits.dns_questions_per_minute is 1"),
        ("limits.received = 1", "warning: limits.received is 1"),
    ] {
        place.configure(settings, &place.path("pins"), "");
        place.fails("config check", 0, wanted);
    }
}

/// A daemon that shows each second that it lives, as one does that copies a large store into the
/// maps.
#[test]
fn status_reports_that_it_waits_for_the_daemon() {
    use std::{
        io::{BufRead as _, BufReader, Write as _},
        os::unix::net::UnixListener,
        thread,
    };
    let place = Installation::new();
    let listener = UnixListener::bind(place.path("control")).unwrap();
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        BufReader::new(&stream).read_line(&mut String::new()).unwrap();
        stream.write_all(b" ").unwrap();
        stream.write_all(b" {\"answer\": \"refused\", \"reason\": \"it is busy\"}\n").unwrap();
    });
    let ran = place.run("status");
    daemon.join().unwrap();
    assert_eq!(
        ran.messages.matches("waiting for the daemon: it attaches the XDP program").count(),
        1,
        "{ran:?}"
    );
    assert!(ran.messages.contains("it is busy"), "{ran:?}");
}
