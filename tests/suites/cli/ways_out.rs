//! A store that is damaged or gone: the message leads to one that works.

use std::{fs, os::unix::fs::symlink};

use crate::installation::Installation;

#[test]
fn a_damaged_store_without_a_backup_is_led_out_of_by_what_is_said() {
    let place = Installation::new();
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
    let place = Installation::new();
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
fn a_store_that_is_damaged_empty_or_good_is_told_apart() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32");
    let store = place.store().display().to_string();
    let good = format!(
        "is good; nothing was changed. To go back to its backup {store}.old: `mv {store} {store}.aside`, then"
    );
    place.fails("store restore", 2, &good);
    fs::write(place.store(), "no database").unwrap();
    place.fails("init --force", 2, "is damaged: ");
    fs::write(place.store(), "").unwrap();
    place.fails("optin list", 2, "is damaged: it is empty;");
}

#[test]
fn what_is_no_object_is_told_in_words_of_json() {
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
fn a_start_that_fails_is_told_with_time_and_level() {
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
fn status_says_what_it_waits_for() {
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
