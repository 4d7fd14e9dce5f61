//! A command names the part of its surroundings that is broken, and changes nothing.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use sixgate_tests::certs::Authority;

use crate::installation::{Installation, command, ran};

/// One command for each way to use the store.
const COMMANDS: [&str; 6] =
    ["optin list", "optin add ::1", "guard check ::1", "trust remove ::1", "domain check a.b", "status"];

#[test]
fn a_damaged_store_is_named_and_left_alone() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32");
    for damage in ["this is not a database in spite of its name", ""] {
        fs::write(place.store(), damage).unwrap();
        for words in COMMANDS.into_iter().chain(["serve --no-xdp", "store log", "store export"]) {
            let code = if words == "status" { 1 } else { 2 };
            place.fails(words, code, &format!("the opt-in store {} is damaged: ", place.store().display()));
        }
        assert_eq!(fs::read_to_string(place.store()).unwrap(), damage);
    }
}

#[test]
fn a_file_of_an_earlier_version_is_taken_over_or_named_with_its_bad_line() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32");
    let good = place.contents();
    let json = place.path("state/store.json");
    fs::remove_file(place.path("state/store.json.taken-over")).unwrap();
    for (bad, wanted) in [
        (good.replace("\"version\": 1", "\"version\": 2"), ":2: version 2 of the store is unknown"),
        (good.replace("2001:db8::/32", "2001:db8::1/32"), ":4: `2001:db8::1/32` has bits beyond its length"),
        (good.replace("\"trust\"", "\"thrust\""), ":7: unknown key `thrust`"),
        (good.replace("}\n", ""), "the file ends too early"),
        (String::new(), ":1: the file ends too early"),
    ] {
        let _ = fs::remove_file(place.store());
        fs::write(&json, &bad).unwrap();
        for words in COMMANDS.into_iter().chain(["serve --no-xdp"]) {
            let code = if words == "status" { 1 } else { 2 };
            place.fails(words, code, wanted);
            place.fails(words, code, &format!("{}:", json.display()));
            place.fails(
                words,
                code,
                "this is the opt-in store of an earlier version, which is to be taken over: ",
            );
        }
        place.fails("config check", 0, &format!("warning: {}:", json.display()));
        // the rest of it is told
        let status = place.run("status");
        assert!(status.data.starts_with("mode       enforce\n"), "{status:?}");
        assert!(status.messages.contains(&place.daemon_is_down()), "{status:?}");
        assert_eq!(fs::read_to_string(&json).unwrap(), bad);
        assert_eq!(place.state(), ["store.json"]);
        // what is imported by hand is named as well
        place.fails("init", 2, "there is an opt-in store of an earlier version, ");
        place.done("init --force");
        place.fails(&format!("store import {}", json.display()), 2, wanted);
        fs::remove_file(place.path("state/store.json.taken-over")).unwrap();
    }
    fs::remove_file(place.store()).unwrap();
    fs::write(&json, &good).unwrap();
    let first = place.run("optin check 2001:db8::1");
    assert_eq!(first.code, Some(0), "{first:?}");
    let told =
        format!("the opt-in store {} was made from {} (1 entries)", place.store().display(), json.display());
    assert!(first.messages.contains(&told), "{first:?}");
    assert_eq!(place.run("optin check 2001:db8::1").messages, "");
    assert_eq!(fs::read_to_string(&json).unwrap(), good);
    // lost later, it does not come back as it once was
    fs::remove_file(place.store()).unwrap();
    place.fails("optin list", 2, "which may be out of date; to use that: `sixgate init`");
}

#[test]
fn a_store_that_cannot_be_read_is_named() {
    let place = Installation::new();
    fs::remove_file(place.store()).unwrap();
    fs::create_dir(place.store()).unwrap();
    let wanted = format!("cannot open the opt-in store {}: is a directory", place.store().display());
    for words in COMMANDS {
        place.fails(words, if words == "status" { 1 } else { 2 }, &wanted);
    }
}

#[test]
fn a_store_that_is_missing_is_named_and_only_init_makes_one() {
    let place = Installation::new();
    place.fails("init", 2, "there is an opt-in store at ");
    fs::remove_file(place.store()).unwrap();
    fs::remove_file(place.path("state/store.json.taken-over")).unwrap();
    for is_directory_there in [true, false] {
        let wanted = format!(
            "no opt-in store at {}: is the volume mounted? `sixgate init` makes a new one",
            place.store().display()
        );
        for words in COMMANDS.into_iter().chain(["optin load /dev/null", "store log", "serve --no-xdp"]) {
            place.fails(words, if words == "status" { 1 } else { 2 }, &wanted);
        }
        assert_eq!(place.path("state").exists(), is_directory_there);
        if is_directory_there {
            assert_eq!(place.state(), Vec::<String>::new());
            fs::remove_dir(place.path("state")).unwrap();
        }
    }
    place.done("init");
    assert_eq!(place.done("optin list"), "");
}

#[test]
fn a_user_who_may_look_at_the_directory_cannot_hold_the_store_up() {
    let place = Installation::new();
    place.done("optin add ::1");
    for (file, mode) in [(place.path(""), 0o755), (place.path("state"), 0o755)] {
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }
    for name in place.state() {
        let mode = fs::metadata(place.path("state").join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{name}");
    }
    let ended = place.run_as_nobody("optin list");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.messages.contains("cannot open the opt-in store"), "{ended:?}");
}

#[test]
fn the_log_of_the_store_names_user_and_command() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32 ::1");
    place.done("optin add --out ::1");
    place.done("optin add ::1 --out");
    place.done("domain add a.example");
    let lines = place.done("store log");
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (line, revision, end) in [
        (lines[0], "4 ", "domain add a.example (1 added, 0 changed, 0 removed)"),
        (lines[1], "3 ", "optin add --out ::1 (0 added, 1 changed, 0 removed)"),
        (lines[2], "2 ", "optin add 2001:db8::/32 ::1 (2 added, 0 changed, 0 removed)"),
        (lines[3], "1 ", "init (0 added, 0 changed, 0 removed)"),
    ] {
        assert!(line.starts_with(revision) && line.ends_with(end), "{line}");
        assert!(line.contains(" root"), "{line}");
    }
    let last = place.json("store log --last 1");
    assert_eq!(last["revisions"].as_array().unwrap().len(), 1);
    assert_eq!(last["revisions"][0]["revision"], 4);
}

#[test]
fn a_configuration_that_is_wrong_stops_every_command_but_its_check() {
    let place = Installation::new();
    fs::write(place.config(), "hostname = \"gate.example\"\nmodus = \"enforce\"\n").unwrap();
    let wanted = format!("sixgate: {}:2: unknown key `modus`", place.config().display());
    let commands = COMMANDS.into_iter().chain(["serve", "attach --iface lo", "ptr list"]);
    // the status tells what it can all the same
    for words in commands.filter(|words| *words != "status") {
        place.fails(words, 2, &wanted);
    }
    place.fails("status", 1, &wanted.replace("sixgate: ", "sixgate: the configuration has an error: "));
    place.fails("config check", 1, &wanted);
    let check = place.json("config check");
    assert_eq!((&check["good"], &check["line"]), (&false.into(), &2.into()));
    fs::remove_file(place.config()).unwrap();
    for words in ["config check", "optin list", "audit", "top --once"] {
        place.fails(words, 2, "there is no configuration ");
        place.fails(words, 2, "; `sixgate init --next-hop smtp://[::1]:10025` makes one");
    }
}

#[test]
fn what_keeps_the_daemon_from_starting_is_no_good_configuration() {
    let place = Installation::new();
    let authority = Authority::new("partners");
    let pair = authority.issue("gate.example");
    pair.install(&place.path("")).unwrap();
    fs::write(place.path("leaf.pem"), format!("{}{}", authority.pem(), pair.certificate)).unwrap();
    fs::write(place.path("file"), "").unwrap();
    let tls = |certificate, ca| {
        let [certificate, key, ca] = [certificate, "key.pem", ca].map(|name| place.path(name));
        format!("tls = {{ certificate = {certificate:?}, key = {key:?}, client_trust.ca = {ca:?} }}")
    };
    for (settings, key, wanted) in [
        (tls("certificate.pem", "leaf.pem"), "tls", "certificate 2 in "),
        (tls("leaf.pem", "leaf.pem"), "tls", "leaf.pem: put it first"),
    ] {
        let settings = format!("listen.addresses = [\"[::1]:2599\"]\n{settings}");
        place.configure(&settings, &place.path("pins"), "");
        place.fails("config check", 1, wanted);
        place.fails("config check", 1, &format!("{}: {key}: ", place.config().display()));
        place.fails("serve --no-xdp", 2, wanted);
    }
}

#[test]
fn a_journal_that_is_not_there_is_no_good_configuration() {
    let place = Installation::new();
    place.configure(
        "log.format = \"journald\"\nlisten.addresses = [\"[::1]:2599\"]",
        &place.path("pins"),
        "",
    );
    if Path::new("/run/systemd/journal/socket").exists() {
        return;
    }
    for (words, code) in [("config check", 1), ("serve --no-xdp", 2)] {
        place.fails(
            words,
            code,
            "log.format is \"journald\", and /run/systemd/journal/socket does not take entries: ",
        );
    }
}

#[test]
fn a_temporary_directory_that_cannot_be_used_is_only_warned_of() {
    let place = Installation::new();
    fs::write(place.path("file"), "").unwrap();
    for (path, wanted) in [
        (place.path("none"), "/none: No such file or directory"),
        (place.path("file"), "/file: Not a directory"),
        (PathBuf::from("/proc"), "cannot make a temporary file in /proc: "),
    ] {
        place.configure(&format!("temporary_directory = {path:?}"), &place.path("pins"), "");
        let ran = place.run("config check");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(
            ran.messages.contains("warning: temporary_directory: ") && ran.messages.contains(wanted),
            "{ran:?}"
        );
    }
}

#[test]
fn a_certificate_that_ends_soon_is_warned_of_in_a_good_configuration() {
    let place = Installation::new();
    let authority = Authority::new("of the gate");
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| place.path(name));
    let settings = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}");
    place.configure(&settings, &place.path("pins"), "");
    place.done("optin add 2001:db8::25");
    place.done("domain add contoso.com");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
    for (days, wanted) in [(-1, "expired at"), (6, "expires at"), (8, "")] {
        let until = now + days * 24 * 60 * 60;
        authority
            .issue_for("gate.example", now - 100 * 24 * 60 * 60, until)
            .install(&place.path(""))
            .unwrap();
        let ran = place.run("config check");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.data.ends_with(": good\n"), "{ran:?}");
        let warning = format!("sixgate.toml: warning: our certificate {} {wanted}", certificate.display());
        assert_eq!(ran.messages.contains(&warning), !wanted.is_empty(), "{ran:?}");
        let warnings = place.json("config check")["warnings"].as_array().unwrap().len();
        // one is of the hostname
        assert_eq!(warnings, 1 + usize::from(!wanted.is_empty()));
    }
}

#[test]
fn the_configuration_is_that_of_the_option_else_of_the_environment() {
    let (place, other) = (Installation::new(), Installation::new());
    place.done("optin add 2001:db8::/32");
    let listed = |option: bool| {
        let mut command = command();
        command.env("SIXGATE_CONFIG", place.config()).args(["optin", "list"]);
        if option {
            command.arg("--config").arg(other.config());
        }
        ran(command.output().unwrap()).data
    };
    assert_eq!(listed(false), "2001:db8::/32 in\n");
    assert_eq!(listed(true), "");
}

#[test]
fn a_command_that_needs_the_maps_names_the_command_that_makes_them() {
    let place = Installation::new();
    for words in ["stats", "ptr list", "ptr get ::1", "ptr set ::1 absent", "ptr remove ::1", "ptr flush"] {
        place.fails(words, 2, "is not attached, so that there are no maps: `sixgate attach --iface IFACE`");
    }
    place.fails("attach", 2, "no interface: name one with --iface");
    place.fails("detach", 1, "nothing is attached");
    assert_eq!(place.run("detach --iface lo").code, Some(2));
}

#[test]
fn a_wrong_command_line_is_an_error() {
    let place = Installation::new();
    for words in
        ["", "optin", "optin drop ::1", "frobnicate", "ptr set ::1 absent --for 2days", "attach --mode x"]
    {
        assert_eq!(place.run(words).code, Some(2), "{words}");
    }
    assert_eq!(place.run("--version").code, Some(0));
}
