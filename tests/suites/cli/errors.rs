//! What is broken around a command is named, and nothing is changed by it.

use std::{
    fs,
    fs::File,
    path::Path,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use sixgate::store::LOCK_WAIT;
use sixgate_tests::certs::Authority;

use crate::place::{Place, command, ran};

/// One command for each way to use the store.
const COMMANDS: [&str; 6] =
    ["optin list", "optin add ::1", "guard check ::1", "trust remove ::1", "domain check a.b", "status"];

#[test]
fn a_corrupt_store_is_named_with_its_line_and_left_alone() {
    let place = Place::new();
    place.done("optin add 2001:db8::/32");
    let good = fs::read_to_string(place.store()).unwrap();
    for (bad, wanted) in [
        (good.replace("\"version\": 1", "\"version\": 2"), ":2: version 2 of the store is unknown"),
        (good.replace("2001:db8::/32", "2001:db8::1/32"), ":4: `2001:db8::1/32` has bits beyond its length"),
        (good.replace("\"trust\"", "\"thrust\""), ":7: unknown key `thrust`"),
        (good.replace("}\n", ""), "EOF while parsing"),
        (String::new(), ":1: EOF while parsing"),
    ] {
        fs::write(place.store(), &bad).unwrap();
        for words in COMMANDS.into_iter().chain(["serve --no-xdp"]) {
            place.fails(words, 2, wanted);
            place.fails(words, 2, place.store().to_str().unwrap());
        }
        assert_eq!(fs::read_to_string(place.store()).unwrap(), bad);
    }
}

#[test]
fn a_store_that_cannot_be_read_is_named() {
    let place = Place::new();
    fs::create_dir(place.store()).unwrap();
    let wanted = format!("sixgate: cannot read the store {}: is a directory", place.store().display());
    for words in COMMANDS {
        place.fails(words, 2, &wanted);
    }
}

#[test]
fn a_missing_directory_is_not_an_empty_store() {
    let place = Place::new();
    fs::remove_dir(place.path("state")).unwrap();
    let wanted = format!("the store's directory {} does not exist", place.path("state").display());
    for words in COMMANDS {
        place.fails(words, 2, &wanted);
    }
    assert!(!place.path("state").exists());
}

#[test]
fn a_lock_that_another_process_keeps_is_named_after_a_bounded_wait() {
    let place = Place::new();
    place.done("optin add 2001:db8::/32");
    let before = fs::read(place.store()).unwrap();
    let lock = File::open(place.path("state/store.json.lock")).unwrap();
    lock.lock().unwrap();
    let began = Instant::now();
    let mut add = place.command("optin add ::1").spawn().unwrap();
    let status = place.command("status").spawn().unwrap();
    assert_eq!(place.done("optin list"), "2001:db8::/32 in\n", "reading needs no lock");
    assert!(add.try_wait().unwrap().is_none(), "it waits");
    for child in [add, status] {
        let ended = ran(child.wait_with_output().unwrap());
        assert_eq!(ended.code, Some(2));
        let wanted = format!("has held the lock {} for 10 s", place.path("state/store.json.lock").display());
        assert!(ended.messages.contains(&wanted), "{ended:?}");
    }
    assert!(began.elapsed() >= LOCK_WAIT);
    assert_eq!(fs::read(place.store()).unwrap(), before);
}

#[test]
fn a_configuration_that_is_wrong_stops_every_command_but_its_check() {
    let place = Place::new();
    fs::write(place.config(), "hostname = \"gate.example\"\nmodus = \"enforce\"\n").unwrap();
    let wanted = format!("sixgate: {}:2: unknown key `modus`", place.config().display());
    for words in COMMANDS.into_iter().chain(["serve", "attach --iface lo", "ptr list"]) {
        place.fails(words, 2, &wanted);
    }
    place.fails("config check", 1, &wanted);
    let check = place.json("config check");
    assert_eq!((&check["good"], &check["line"]), (&false.into(), &2.into()));
    fs::remove_file(place.config()).unwrap();
    place.fails("config check", 2, "cannot read the configuration");
    place.fails("optin list", 2, "No such file or directory");
}

#[test]
fn what_keeps_the_daemon_from_starting_is_no_good_configuration() {
    let place = Place::new();
    let authority = Authority::new("partners");
    let pair = authority.issue("gate.example");
    pair.install(&place.path("")).unwrap();
    fs::write(place.path("leaf.pem"), format!("{}{}", authority.pem(), pair.certificate)).unwrap();
    fs::write(place.path("file"), "").unwrap();
    let temporary = |path: &Path| format!("temporary_directory = {path:?}");
    let tls = |certificate, ca| {
        let [certificate, key, ca] = [certificate, "key.pem", ca].map(|name| place.path(name));
        format!("tls = {{ certificate = {certificate:?}, key = {key:?}, client_trust.ca = {ca:?} }}")
    };
    for (settings, key, wanted) in [
        (temporary(&place.path("none")), "temporary_directory", "/none: No such file or directory"),
        (temporary(&place.path("file")), "temporary_directory", "/file: Not a directory"),
        (temporary(Path::new("/proc")), "temporary_directory", "cannot make a temporary file in /proc: "),
        (tls("certificate.pem", "leaf.pem"), "tls", "certificate 2 in "),
        (tls("leaf.pem", "leaf.pem"), "tls", "leaf.pem: our own has to stand first"),
    ] {
        let settings = format!("listen.addresses = [\"[::1]:0\"]\n{settings}");
        place.configure(&settings, &place.path("pins"), "");
        place.fails("config check", 1, wanted);
        place.fails("config check", 1, &format!("{}: {key}: ", place.config().display()));
        place.fails("serve --no-xdp", 2, wanted);
    }
}

#[test]
fn a_certificate_that_ends_soon_is_warned_of_and_the_configuration_is_good() {
    let place = Place::new();
    let authority = Authority::new("of the gate");
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| place.path(name));
    let settings = format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}");
    place.configure(&settings, &place.path("pins"), "");
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
        assert_eq!(warnings, usize::from(!wanted.is_empty()));
    }
}

#[test]
fn the_configuration_is_that_of_the_option_else_of_the_environment() {
    let (place, other) = (Place::new(), Place::new());
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
fn what_needs_the_maps_says_how_to_get_them() {
    let place = Place::new();
    for words in ["stats", "ptr list", "ptr get ::1", "ptr set ::1 absent", "ptr remove ::1", "ptr flush"] {
        place.fails(words, 2, "is not attached, so that there are no maps: `sixgate attach --iface IFACE`");
    }
    place.fails("attach", 2, "no interface: name one with --iface");
    place.fails("detach", 1, "nothing is attached");
    assert_eq!(place.run("detach --iface lo").code, Some(2));
}

#[test]
fn a_wrong_command_line_is_an_error() {
    let place = Place::new();
    for words in
        ["", "optin", "optin drop ::1", "frobnicate", "ptr set ::1 absent --for 2days", "attach --mode x"]
    {
        assert_eq!(place.run(words).code, Some(2), "{words}");
    }
    assert_eq!(place.run("--version").code, Some(0));
}
