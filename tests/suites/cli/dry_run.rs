//! `--dry-run`: every check is made, what would change is printed, and nothing is changed.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use sixgate_dataplane::{MapEntry, Projection};
use sixgate_tests::gate;

use crate::{
    host::{Host, NEEDS},
    installation::{Installation, Ran, ran},
};

/// The state that a dry run must leave as it is: the last change, and a hash of each file of the
/// store.
fn state(place: &Installation) -> (String, BTreeMap<String, u64>) {
    let log = place.done("store log --last 1");
    let hash = |name: String| {
        let mut hasher = DefaultHasher::new();
        fs::read(place.path("state").join(&name)).unwrap().hash(&mut hasher);
        (name, hasher.finish())
    };
    (log, place.state().into_iter().map(hash).collect())
}

fn filled() -> Installation {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32 2001:db8:1::/48 2001:db8:2::/48");
    place.done("guard add 2001:db8::/32");
    place.done("trust add 2001:db8:10::/48");
    place.done("domain add a.example b.example c.example");
    place
}

fn fed(place: &Installation, words: &str, input: &str) -> Ran {
    let mut child = place.command(words).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    ran(child.wait_with_output().unwrap())
}

#[test]
fn a_dry_run_prints_each_entry_that_would_change_and_changes_nothing() {
    let place = filled();
    let before = state(&place);
    for (words, code, lines, counts) in [
        ("optin add 2001:db8::/32 ::1", 0, "unchanged 2001:db8::/32 in\nwould add ::1/128 in\n", (1, 0, 0)),
        ("optin add --out 2001:db8:1::/48", 0, "would change 2001:db8:1::/48 out\n", (0, 1, 0)),
        ("optin remove 2001:db8:1::/48 ::7", 1, "would remove 2001:db8:1::/48 in\n", (0, 0, 1)),
        ("guard add ::1", 0, "would add ::1/128\n", (1, 0, 0)),
        ("guard remove 2001:db8::/32", 0, "would remove 2001:db8::/32\n", (0, 0, 1)),
        ("trust add ::1", 0, "would add ::1/128\n", (1, 0, 0)),
        ("trust remove 2001:db8:10::/48", 0, "would remove 2001:db8:10::/48\n", (0, 0, 1)),
        ("domain add d.example", 0, "would add d.example\n", (1, 0, 0)),
        ("domain add --temporary a.example", 0, "would change a.example in temporary\n", (0, 1, 0)),
        ("domain remove a.example", 0, "would remove a.example\n", (0, 0, 1)),
        ("domain remove --temporary a.example", 1, "", (0, 0, 0)),
    ] {
        let ran = place.run(&format!("{words} --dry-run"));
        let (added, changed, removed) = counts;
        let wanted = format!(
            "{lines}dry run, nothing was changed: {added} to add, {changed} to change, {removed} to remove\n"
        );
        assert_eq!((ran.code, ran.data.as_str()), (Some(code), wanted.as_str()), "{words}: {ran:?}");
        assert_eq!(state(&place), before, "{words}");
    }
}

#[test]
fn a_dry_run_of_a_list_prints_counts_and_the_first_hundred_entries() {
    let place = filled();
    let before = state(&place);
    for (words, list, wanted) in [
        (
            "optin load",
            "2001:db8::/32\n2001:db8:1::/48 out\n::5\n",
            "would add ::5/128 in\nwould change 2001:db8:1::/48 out\nwould remove 2001:db8:2::/48 in\n\
             dry run, nothing was changed: 1 to add, 1 to change, 1 to remove, 1 unchanged, 3 in all\n",
        ),
        (
            "guard load",
            "2001:db8::/32\n::1\n",
            "would add ::1/128\n\
             dry run, nothing was changed: 1 to add, 0 to change, 0 to remove, 1 unchanged, 2 in all\n",
        ),
        (
            "trust load --allow-empty",
            "",
            "would remove 2001:db8:10::/48\n\
             dry run, nothing was changed: 0 to add, 0 to change, 1 to remove, 0 unchanged, 0 in all\n",
        ),
        ("domain load --quiet", "a.example\nb.example\nz.example\n", ""),
    ] {
        let options = if words.starts_with("optin") { "--allow-shrink" } else { "" };
        let ran = fed(&place, &format!("{words} {options} --dry-run -"), list);
        assert_eq!((ran.code, ran.data.as_str()), (Some(0), wanted), "{words}: {ran:?}");
        assert_eq!(state(&place), before, "{words}");
    }
    let many: String = (0..1000).map(|at| format!("3fff::{at:x}:0:0:0/80\n")).collect();
    let ran = fed(&place, "trust load --dry-run --allow-shrink -", &many);
    let lines: Vec<&str> = ran.data.lines().collect();
    assert_eq!(lines.len(), 102, "{ran:?}");
    assert_eq!(lines[100], "and 901 more");
    assert!(lines[101].ends_with(": 1000 to add, 0 to change, 1 to remove, 0 unchanged, 1000 in all"));

    let mut wanted = place.contents();
    wanted = wanted.replace("a.example", "y.example");
    fs::write(place.path("whole"), wanted).unwrap();
    let printed = place.done(&format!("store import --dry-run {}", place.path("whole").display()));
    assert!(printed.starts_with("would add y.example\nwould remove a.example\n"), "{printed}");
    assert_eq!(state(&place), before);
}

#[test]
fn a_dry_run_is_refused_where_the_command_is_refused() {
    let place = filled();
    fs::write(place.path("bad"), "::1\n::1 out\n").unwrap();
    fs::write(place.path("empty"), "").unwrap();
    fs::write(place.path("one"), "2001:db8::/32\n").unwrap();
    let before = state(&place);
    for (words, wanted) in [
        ("optin remove 2001:db8::/32 2001:db8:1::/48 2001:db8:2::/48", "`--allow-empty` if that is meant"),
        ("domain remove a.example b.example c.example", "`--allow-empty` if that is meant"),
        ("optin load BAD", ":2: ::1/128 stands twice"),
        ("optin load EMPTY", "is empty; nothing was changed"),
        ("optin load ONE", "would remove 2 of 3 opt-in prefixes"),
        ("optin load NONE", "cannot read "),
        ("store restore", "is good; nothing was changed"),
        ("store restore --force", "there is no backup "),
        ("init", "there is an opt-in store at "),
    ] {
        let path = |name: &str| place.path(name).display().to_string();
        let words = words
            .replace("BAD", &path("bad"))
            .replace("EMPTY", &path("empty"))
            .replace("ONE", &path("one"))
            .replace("NONE", &path("none"));
        let real = place.run(&words);
        let tried = place.run(&format!("{words} --dry-run"));
        assert_eq!(tried.code, Some(2), "{words}: {tried:?}");
        assert!(tried.messages.contains(wanted), "{words}: {tried:?}");
        assert_eq!(tried, real, "{words}");
        assert_eq!(state(&place), before, "{words}");
    }
}

#[test]
fn a_dry_run_neither_makes_nor_replaces_nor_takes_over_a_store() {
    let place = filled();
    let mut backup = fs::read(place.store()).unwrap();
    // without a write-ahead log, as the daemon makes it (SQLite's file format, 1.3.3)
    backup[18..20].fill(1);
    fs::write(place.path("state/store.db.old"), backup).unwrap();
    let before = state(&place);
    let printed = place.done("store restore --force --dry-run");
    assert!(printed.contains(": would be put back, revision 5, backup of "), "{printed}");
    assert!(printed.contains(": the store of before would be kept as "), "{printed}");
    assert!(printed.ends_with("\ndry run, nothing was changed\n"), "{printed}");
    assert_eq!(state(&place), before);

    fs::remove_file(place.store()).unwrap();
    let names = place.state();
    place.fails("init --dry-run", 2, "only its backup ");
    let printed = place.done("init --force --dry-run");
    assert!(printed.ends_with(": would be made, empty\ndry run, nothing was changed\n"), "{printed}");
    assert_eq!(place.state(), names);

    let other = filled();
    fs::write(other.path("state/store.json"), other.contents()).unwrap();
    fs::remove_file(other.store()).unwrap();
    fs::remove_file(other.path("state/store.json.taken-over")).unwrap();
    other.fails("optin add ::1 --dry-run", 2, "run `sixgate status` first, which takes it over");
    assert_eq!(other.state(), ["store.json"]);
}

#[test]
fn a_dry_run_on_attached_maps_changes_none_of_them_and_checks_their_space() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("optin_entries = 2");
    let place = &host.place;
    place.done("optin add ::1 ::2");
    place.done("guard add 2001:db8::/32");
    place.done("trust add 2001:db8:10::/48");
    place.done("ptr set 2001:db8:bad::1 absent");
    let maps = || {
        let maps = host.maps();
        let entries = maps.difference(&Projection::default()).unwrap().removed;
        let entries: Vec<String> = entries.iter().map(MapEntry::to_string).collect();
        let records = maps.ptr_list().unwrap();
        let records: Vec<_> = records.iter().map(|record| (record.address, record.state)).collect();
        (entries, records, maps.settings().unwrap())
    };
    let before = (state(place), maps());
    for (words, wanted) in [
        ("optin remove ::1", "would remove ::1/128 in\n"),
        ("optin add --out ::2", "would change ::2/128 out\n"),
        ("guard add ::1", "would add ::1/128\n"),
        ("trust remove 2001:db8:10::/48", "would remove 2001:db8:10::/48\n"),
        ("domain add --temporary a.example", "would add a.example temporary\n"),
        ("ptr set 2001:db8:bad::2 absent", "would set 2001:db8:bad::2 absent for 15m\n"),
        ("ptr remove 2001:db8:bad::1", "would remove 2001:db8:bad::1\n"),
        ("ptr flush", "would remove 1\n"),
    ] {
        let printed = place.done(&format!("{words} --dry-run"));
        assert!(printed.starts_with(wanted), "{words}: {printed}");
        assert!(printed.contains("dry run, nothing was changed"), "{words}: {printed}");
        assert_eq!((state(place), maps()), before, "{words}");
    }
    place.fails("optin add ::3 --dry-run", 2, "the map OPTIN has 2 entries at most, and this would make 3");
    assert_eq!((state(place), maps()), before);
    assert!(host.is_ready());
}

#[test]
fn a_dry_run_of_attach_and_detach_names_what_they_would_do() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new("");
    let place = &host.place;
    place.done("optin add ::1");
    let pinned = || names(&host.bpffs.pins());
    let before = pinned();
    let printed = place.done("attach --iface v0 --dry-run");
    assert_eq!(printed, "v0: would be attached, mode auto\ndry run, nothing was changed\n");
    place.fails("attach --iface v7 --dry-run", 2, "v7");
    place.fails("attach --dry-run", 2, "no interface: name one with --iface");
    place.fails("detach --dry-run", 1, "nothing is attached");
    assert_eq!(pinned(), before);

    place.done("attach --iface v0");
    place.done_without_maps("optin add ::2 ::3");
    let before = (pinned(), host.optin(), host.maps().settings().unwrap());
    let printed = place.done("attach --dry-run");
    let wanted = "v0: attached already\nmaps: 2 entries to add, 0 to remove\ndry run, nothing was changed\n";
    assert_eq!(printed, wanted);
    for words in ["detach --dry-run", "detach --iface v0 --dry-run"] {
        assert_eq!(place.done(words), "v0: would be detached\ndry run, nothing was changed\n");
    }
    let other = place.run("detach --iface lo --dry-run");
    assert_eq!(place.run("detach --iface lo"), other, "{other:?}");
    place.fails("detach --other-layouts --dry-run", 1, "no other version of sixgate has pinned anything");
    assert_eq!((pinned(), host.optin(), host.maps().settings().unwrap()), before);
    place.done("detach");
}

/// All paths below a directory, sorted.
fn names(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}
