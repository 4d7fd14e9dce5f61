//! The audit log of the four lists, and the undo of one change.

use std::fs;

use serde_json::{Value, json};
use sixgate_tests::gate;

use crate::{
    host::{Host, NEEDS, set},
    installation::{Installation, ran},
};

fn filled() -> Installation {
    let place = Installation::new();
    place.done("optin add 2001:db8:1::/48 2001:db8:2::/48 2001:db8:3::/48");
    place.done("guard add 2001:db8:1::/48 2001:db8:2::/48 2001:db8:3::/48");
    place.done("trust add 2001:db8:1::/48 2001:db8:2::/48 2001:db8:3::/48");
    place.done("domain add a.example b.example c.example");
    place
}

/// The ID of the last change.
fn last(place: &Installation) -> u64 {
    place.json("audit --last 1")["changes"][0]["id"].as_u64().unwrap()
}

#[test]
fn the_audit_log_has_user_host_command_and_entries_before_and_after() {
    let place = Installation::new();
    let mut command = place.command("optin add 2001:db8::/32 ::1");
    assert_eq!(ran(command.env("SUDO_USER", "alice").output().unwrap()).code, Some(0));
    place.done("optin add --out ::1");
    place.done("domain add --temporary a.example");
    place.done("trust add ::1 --dry-run");
    let log = place.json("audit");
    let changes = log["changes"].as_array().unwrap();
    assert_eq!((changes.len(), &log["has_more"], &log["oldest"]), (4, &json!(false), &json!(1)));
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (change, (id, who, command, entries)) in changes.iter().zip([
        (
            4,
            "root",
            "domain add --temporary a.example",
            json!([{"list": "domain", "entry": "a.example", "before": null, "after": "temporary"}]),
        ),
        (
            3,
            "root",
            "optin add --out ::1",
            json!([{"list": "optin", "entry": "::1/128", "before": "in", "after": "out"}]),
        ),
        (
            2,
            "root (sudo by alice)",
            "optin add 2001:db8::/32 ::1",
            json!([
                {"list": "optin", "entry": "2001:db8::/32", "before": null, "after": "in"},
                {"list": "optin", "entry": "::1/128", "before": null, "after": "in"},
            ]),
        ),
        (1, "root", "init", json!([])),
    ]) {
        assert_eq!(change["id"], id);
        assert_eq!((&change["who"], &change["command"]), (&json!(who), &json!(command)));
        assert_eq!((&change["uid"], &change["host"]), (&json!(0), &json!(host.trim_end())));
        assert_eq!((&change["entries"], &change["entries_left_out"]), (&entries, &json!(0)));
        assert_eq!(change["entries_kept"], true);
    }
    // a process that no login began has the user before sudo, where there was one
    let is_login = fs::read_to_string("/proc/self/loginuid").is_ok_and(|uid| uid.trim() != "4294967295");
    assert!(is_login || (changes[2]["login"] == "alice" && changes[3]["login"] == Value::Null));

    let text = place.done("audit --list optin --last 1");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].starts_with("3 20"), "{text}");
    let wanted = format!(", host {}: optin add --out ::1 (0 added, 1 changed, 0 removed)", host.trim_end());
    assert!(lines[0].contains(" root, uid 0") && lines[0].ends_with(&wanted), "{text}");
    assert_eq!(lines[1], "  optin ::1/128: in -> out");
    let more = place.run("audit --list optin --last 1");
    assert_eq!(more.messages, "sixgate: there are more, older changes: `--last 10`\n");
    let text = place.done("audit --id 4");
    assert!(text.ends_with("\n  domain a.example: not listed -> temporary\n"), "{text}");
    assert_eq!(place.done("audit --list guard"), "");
    assert_eq!(place.json("audit --since 1h")["changes"].as_array().unwrap().len(), 4);
    place.fails("audit --id 99", 1, "there is no such change 99; `sixgate audit` lists the changes");
    place.fails("audit --since soon", 2, "invalid value 'soon' for '--since <DURATION>'");
    place.fails("audit --since soon", 2, "write a number with its unit, such as 90s, 12h or 7d");
    place.fails("audit --id first", 2, "the ID of a change is a number, as `sixgate audit` prints it");
    place.fails("audit --last 0", 2, "invalid value '0' for '--last <NUMBER>'");
    let none = place.run("audit --list guard");
    assert_eq!(
        (none.code, none.messages.as_str()),
        (Some(0), "sixgate: no such change; `sixgate audit` lists them all\n")
    );
    place.fails("undo 0", 2, "there is no change 0; `sixgate audit` lists the changes");
}

#[test]
fn an_undo_is_a_change_of_its_own_and_can_be_undone() {
    let place = filled();
    for words in [
        "optin add ::1 --out",
        "optin add 2001:db8:1::/48 --out",
        "optin remove 2001:db8:2::/48",
        "guard add ::1",
        "guard remove 2001:db8:1::/48",
        "trust add ::1",
        "trust remove 2001:db8:1::/48",
        "domain add d.example",
        "domain add --temporary a.example",
        "domain remove b.example",
    ] {
        let before = place.contents();
        place.done(words);
        let (id, after) = (last(&place), place.contents());
        assert_ne!(after, before, "{words}");
        let tried = place.done(&format!("undo {id} --dry-run"));
        assert!(tried.starts_with("would ") && tried.contains("dry run, nothing was changed: "), "{tried}");
        assert_eq!((last(&place), place.contents()), (id, after.clone()), "{words}");
        let printed = place.done(&format!("undo {id}"));
        assert_eq!(printed.lines().count(), 1, "{words}: {printed}");
        assert_eq!(place.contents(), before, "{words}");
        let undone = &place.json("audit --last 1")["changes"][0];
        assert_eq!((&undone["id"], &undone["command"]), (&json!(id + 1), &json!(format!("undo {id}"))));
        place.fails(&format!("undo {id}"), 1, "nothing to undo: the entries of change ");
        place.done(&format!("undo {}", id + 1));
        assert_eq!(place.contents(), after, "{words}");
    }
}

#[test]
fn later_changes_of_the_same_entries_are_named_and_need_force() {
    let place = filled();
    place.done("optin add ::1 ::2");
    let id = last(&place);
    place.done("optin add --out ::1");
    place.done("trust add ::1");
    place.done("optin remove ::1");
    place.done("optin add ::1");
    let before = place.contents();
    let wanted = format!(
        "sixgate: change {id} cannot be undone: its entries were changed later, by {} (optin add --out ::1), {} (optin \
         remove ::1), {} (optin add ::1); nothing was changed. Undo the later changes first, or `sixgate undo {id} \
         --force` makes these entries as they were before change {id}\n",
        id + 1,
        id + 3,
        id + 4
    );
    for words in ["", "--dry-run"] {
        let refused = place.run(&format!("undo {id} {words}"));
        assert_eq!((refused.code, refused.messages.as_str()), (Some(2), wanted.as_str()));
    }
    assert_eq!((place.contents(), last(&place)), (before, id + 4));
    let printed = place.done(&format!("undo {id} --force"));
    assert_eq!(printed, "removed ::1/128 in\nremoved ::2/128 in\n");
    // an entry that is as before already does not conflict
    place.done("optin add ::5 ::6");
    let id = last(&place);
    place.done("optin remove ::5");
    assert_eq!(place.done(&format!("undo {id}")), "removed ::6/128 in\n");
}

#[test]
fn an_undo_neither_empties_nor_halves_a_list_without_consent() {
    for set in ["optin", "guard", "trust", "domain"] {
        let place = Installation::new();
        let entry = |at: u32| match set {
            "domain" => format!("d{at}.example"),
            _ => format!("2001:db8:{at}::/48"),
        };
        let entries = |range: std::ops::Range<u32>| range.map(entry).collect::<Vec<_>>().join(" ");
        place.done(&format!("{set} add {}", entries(0..11)));
        let first = last(&place);
        place.done(&format!("{set} add {}", entries(11..23)));
        let before = place.contents();
        let words = format!("undo {}", first + 1);
        place.fails(&words, 2, "the undo would remove 12 of 23 ");
        place.fails(&words, 2, "; nothing was changed: `--allow-shrink` if that is meant");
        assert_eq!(place.contents(), before);
        place.done(&format!("{words} --allow-shrink"));
        let words = format!("undo {first}");
        place.fails(&words, 2, "the undo would leave no ");
        place.fails(&words, 2, "`--allow-empty` if that is meant");
        assert_eq!(place.done(&format!("{words} --allow-empty --quiet")), "");
        assert_eq!(place.done(&format!("{set} list")), "");
        // few entries are seen at a glance
        place.done(&format!("{set} add {}", entries(0..10)));
        let words = format!("undo {}", last(&place));
        if matches!(set, "optin" | "domain") {
            // but in mode enforce something has to take mail
            place.fails(&words, 2, "this would leave no ");
            place.done(&format!("{words} --allow-empty"));
        } else {
            assert_eq!(place.done(&words).lines().count(), 10);
        }
        assert_eq!(place.done(&format!("{set} list")), "");
    }
    // an entry that stays and takes no more mail counts as removed
    let place = Installation::new();
    let entries = |last: u32| (1..=last).map(|at| format!("::{at}")).collect::<Vec<_>>().join(" ");
    place.done(&format!("optin add --out {}", entries(10)));
    place.done(&format!("optin add {}", entries(11)));
    let wanted = "the undo would remove 11 of 11 opt-in prefixes, or no longer opt them in";
    place.fails(&format!("undo {}", last(&place)), 2, wanted);
}

#[test]
fn a_large_load_is_one_change_that_can_be_undone_within_the_bounds() {
    let place = filled();
    let list = |count: u32| -> String {
        (0..count).map(|at| format!("3fff:{:x}:{:x}::/64\n", at >> 16, at & 0xffff)).collect()
    };
    let before = place.contents();
    fs::write(place.path("list"), list(50_000)).unwrap();
    let load = format!("trust load --quiet --allow-shrink {}", place.path("list").display());
    place.done(&load);
    let id = last(&place);
    let change = &place.json("audit --last 1")["changes"][0];
    assert_eq!((&change["added"], &change["removed"]), (&json!(50_000), &json!(3)));
    assert_eq!(change["entries"].as_array().unwrap().len(), 20);
    assert_eq!(change["entries_left_out"], 49_983);
    let text = place.done("audit --last 1");
    assert!(text.ends_with(&format!("\n  and 49983 more: `sixgate audit --id {id}`\n")), "{text}");
    assert_eq!(
        place.json(&format!("audit --id {id}"))["changes"][0]["entries"].as_array().unwrap().len(),
        50_003
    );
    place.done(&format!("undo {id} --quiet --allow-shrink"));
    assert_eq!(place.contents(), before);

    fs::write(place.path("list"), list(100_001)).unwrap();
    place.done(&load);
    let (id, before) = (last(&place), place.contents());
    let text = place.done("audit --last 1");
    let wanted = "\n  100004 entries, which are not kept: it cannot be undone\n";
    assert!(text.ends_with(wanted), "{text}");
    place.fails(
        &format!("undo {id} --allow-shrink"),
        2,
        "its entries are not kept any more (at most 100000 ",
    );
    place.fails("undo 1", 2, "change 1 concerns no entry: there is nothing to undo");
    place.fails("undo 2", 2, "its entries are not kept any more");
    place.fails("undo 99", 2, "there is no change 99; `sixgate audit` lists the changes");
    assert_eq!(place.contents(), before);
    let lists = place.json("audit --list trust")["changes"].as_array().unwrap().len();
    assert_eq!(lists, 4);
}

#[test]
fn a_restored_store_records_who_restored_it() {
    let place = filled();
    let mut backup = fs::read(place.store()).unwrap();
    // without a write-ahead log, as the daemon makes it (SQLite's file format, 1.3.3)
    backup[18..20].fill(1);
    fs::write(place.path("state/store.db.old"), backup).unwrap();
    place.done("trust add ::1");
    place.done("store restore --force");
    let log = place.json("audit --last 1");
    assert_eq!(
        (&log["changes"][0]["id"], &log["changes"][0]["command"]),
        (&json!(6), &json!("store restore --force"))
    );
    place.fails("undo 6", 2, "change 6 concerns no entry");
}

#[test]
fn the_maps_follow_an_undo() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    host.place.done("optin add ::1 ::2 ::3");
    host.place.done("optin add --out ::3");
    host.place.done("optin remove ::2");
    host.place.done("undo 3");
    host.place.done("undo 4");
    assert_eq!(host.optin(), set(["::1/128 in", "::2/128 in", "::3/128 in"]));
    host.place.agrees();
}
