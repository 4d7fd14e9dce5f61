//! Commands that change the store: what they print, and that a refused one changes nothing.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use sixgate_tests::{
    daemon::binary,
    gate::{self, Need},
};

use crate::installation::{Installation, Ran, ran};

fn fed(command: &mut Command, input: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    ran(child.wait_with_output().unwrap())
}

#[test]
fn each_entry_is_printed_with_its_outcome() {
    let place = Installation::new();
    for (words, wanted) in [
        ("optin add 2001:db8::/32 ::1", "added 2001:db8::/32 in\nadded ::1/128 in\n"),
        ("optin add ::1", "unchanged ::1/128 in\n"),
        ("optin add --out ::1", "changed ::1/128 out\n"),
        ("domain add EXAMPLE.Org.", "added example.org\n"),
        (
            "domain add --temporary example.org later.example",
            "changed example.org in temporary\nadded later.example temporary\n",
        ),
        ("domain list", "example.org in temporary\nlater.example temporary\n"),
        (
            "domain remove --temporary example.org later.example",
            "changed example.org\nremoved later.example temporary\n",
        ),
        ("optin remove ::1", "removed ::1/128 out\n"),
        ("guard add 2001:db8::/32", "added 2001:db8::/32\n"),
        ("guard add 2001:db8::/32", "unchanged 2001:db8::/32\n"),
        ("guard remove 2001:db8::/32", "removed 2001:db8::/32\n"),
        ("trust add ::1", "added ::1/128\n"),
        ("trust remove ::1", "removed ::1/128\n"),
        ("domain add Contoso.COM", "added contoso.com\n"),
        ("domain add contoso.com", "unchanged contoso.com\n"),
        ("domain remove CONTOSO.com.", "removed contoso.com\n"),
    ] {
        assert_eq!(place.done(words), wanted, "{words}");
    }
}

#[test]
fn what_is_not_there_is_named_and_the_rest_is_removed() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32 2001:db8:1::/48");
    let wanted = Ran {
        code: Some(1),
        data: "removed 2001:db8:1::/48 in\n".to_owned(),
        messages: "sixgate: not there: 2001:db8:1:1::/64\n".to_owned(),
    };
    assert_eq!(place.run("optin remove 2001:db8:1:1::/64 2001:db8:1::/48"), wanted);
    assert_eq!(place.done("optin list"), "2001:db8::/32 in\n");
    for words in ["guard remove ::1", "trust remove ::1", "domain remove a.b"] {
        place.fails(words, 1, "not there");
    }
}

#[test]
fn a_list_replaces_the_whole_set_and_prints_the_differences() {
    let place = Installation::new();
    place.done("optin add 2001:db8:1::/48 2001:db8:2::/48 2001:db8:3::/48");
    let list = "# new\n2001:db8:2::/48\n2001:db8:3::/48 out\n2001:db8:4::/48 # the fourth\n";
    fs::write(place.path("list"), list).unwrap();
    let file = place.path("list");
    let printed = place.done(&format!("optin load --allow-shrink {}", file.display()));
    let wanted = "changed 2001:db8:3::/48 out\nadded 2001:db8:4::/48 in\nremoved 2001:db8:1::/48 in\n\
                  1 added, 1 changed, 1 removed, 1 unchanged, 3 in all\n";
    assert_eq!(printed, wanted);
    let listed = place.done("optin list");
    assert_eq!(listed, "2001:db8:2::/48 in\n2001:db8:3::/48 out\n2001:db8:4::/48 in\n");
    let again = fed(&mut place.command("optin load -"), &listed);
    assert_eq!(
        again,
        Ran {
            code: Some(0),
            data: "0 added, 0 changed, 0 removed, 3 unchanged, 3 in all\n".to_owned(),
            messages: String::new()
        }
    );
    let again = fed(&mut place.command("optin load --quiet -"), "2001:db8:4::/48\n2001:db8:2::/48\n");
    assert_eq!(again, Ran { code: Some(0), data: String::new(), messages: String::new() });
    assert_eq!(place.done("optin list"), "2001:db8:2::/48 in\n2001:db8:4::/48 in\n");
}

#[test]
fn each_set_is_loaded_from_what_its_list_prints() {
    let place = Installation::new();
    for (set, list, summary) in [
        (
            "optin",
            "2001:db8::/32 in\n2001:db8:1::/48 out\n",
            "2 added, 0 changed, 0 removed, 0 unchanged, 2 in all",
        ),
        ("guard", "2001:db8::/32 store\n", "1 added, 0 changed, 0 removed, 0 unchanged, 1 in all"),
        (
            "trust",
            "2001:db8:10::/48\n2001:db8:11::/48\n",
            "2 added, 0 changed, 0 removed, 0 unchanged, 2 in all",
        ),
        (
            "domain",
            "a.example\nb.example in temporary\nc.example temporary\n",
            "3 added, 0 changed, 0 removed, 0 unchanged, 3 in all",
        ),
    ] {
        let ended = fed(&mut place.command(&format!("{set} load -")), list);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.data.ends_with(&format!("{summary}\n")), "{ended:?}");
        assert_eq!(place.done(&format!("{set} list")), list);
    }
    fs::write(place.path("copy"), place.contents()).unwrap();
    let other = Installation::new();
    let printed = other.done(&format!("store import {}", place.path("copy").display()));
    assert!(printed.ends_with("8 added, 0 changed, 0 removed, 0 unchanged, 8 in all\n"), "{printed}");
    assert_eq!(other.contents(), place.contents());
}

#[test]
fn a_list_that_is_empty_or_removes_more_than_half_needs_consent() {
    let place = Installation::new();
    let three = |set: &str| match set {
        "domain" => "a.example\nb.example\nc.example\n",
        _ => "2001:db8:1::/48\n2001:db8:2::/48\n2001:db8:3::/48\n",
    };
    for set in ["optin", "guard", "trust", "domain"] {
        let load =
            |options: &str, list: &str| fed(&mut place.command(&format!("{set} load {options} -")), list);
        assert_eq!(load("", three(set)).code, Some(0));
        let before = place.contents();
        for list in ["", "# a pipe that failed\n"] {
            let ended = load("--allow-shrink", list);
            assert_eq!((ended.code, ended.data.as_str()), (Some(2), ""));
            assert!(ended.messages.contains("is empty; nothing was changed: `--allow-empty`"), "{ended:?}");
        }
        let one = three(set).lines().next().unwrap();
        let ended = load("", one);
        assert_eq!(ended.code, Some(2));
        assert!(ended.messages.contains("would remove 2 of 3 "), "{ended:?}");
        assert!(ended.messages.contains("nothing was changed: `--allow-shrink`"), "{ended:?}");
        assert_eq!(place.contents(), before);
        assert_eq!(load("--allow-shrink", one).code, Some(0));
        assert_eq!(load("--allow-empty", "").code, Some(0));
        assert_eq!(place.done(&format!("{set} list")), "");
    }
    // what stays and takes no more mail counts as removed
    for (set, stays) in [("optin", "out"), ("domain", "temporary")] {
        let load =
            |options: &str, list: &str| fed(&mut place.command(&format!("{set} load {options} -")), list);
        assert_eq!(load("", three(set)).code, Some(0));
        let list: Vec<String> = three(set).lines().map(|entry| format!("{entry} {stays}\n")).collect();
        let before = place.contents();
        let ended = load("", &format!("{}{}{}", list[0], list[1], three(set).lines().last().unwrap()));
        assert_eq!(ended.code, Some(2));
        assert!(ended.messages.contains("would remove 2 of 3 "), "{ended:?}");
        assert!(ended.messages.contains(", or no longer opt them in; nothing was changed"), "{ended:?}");
        assert_eq!(place.contents(), before);
        assert_eq!(load("--allow-shrink --allow-empty", &list.concat()).code, Some(0));
        assert_eq!(load("--allow-empty", "").code, Some(0));
    }
    // the same for a whole store
    fs::write(place.path("empty"), place.contents()).unwrap();
    fed(&mut place.command("optin load -"), three("optin"));
    place.fails(
        &format!("store import {}", place.path("empty").display()),
        2,
        "the list of opt-in prefixes is empty",
    );
    assert_eq!(place.done("optin list").lines().count(), 3);
}

#[test]
fn a_load_shows_its_progress_on_a_terminal_only() {
    if !gate::require(&[Need::Program("script")]) {
        return;
    }
    let place = Installation::new();
    let list: String =
        (0..200_000).map(|at| format!("3fff:{:x}:{:x}::/64\n", at >> 16, at & 0xffff)).collect();
    fs::write(place.path("list"), list).unwrap();
    let load = |options: &str| format!("optin load {options} {}", place.path("list").display());
    // script(1) gives the command a terminal
    let words = format!("{:?} --config {:?} {}", binary(), place.config(), load("--allow-empty"));
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &words, "/dev/null"]);
    let ended = script.env("TERM", "xterm").output().unwrap();
    let shown = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{:?}", shown.chars().take(1000).collect::<String>());
    assert!(
        shown.contains("reading the list") || shown.contains(" of 200000 entries written to the store, ")
    );
    assert!(shown.contains("200000 added, 0 changed, 0 removed, 0 unchanged, 200000 in all"));
    let ended = place.run(&load("--quiet"));
    assert_eq!(ended, Ran { code: Some(0), data: String::new(), messages: String::new() });
}

#[test]
fn what_mail_needs_last_is_not_removed_without_consent() {
    let place = Installation::new();
    place.done("optin add ::1 ::2");
    place.done("optin add --out ::3");
    place.done("domain add a.example");
    place.done("domain add --temporary b.example");
    place.done("optin remove ::1");
    let before = place.contents();
    for (words, wanted) in [
        (
            "optin remove ::2",
            "this would leave no destination opted in, so that every sender to this host is refused",
        ),
        ("optin remove ::2 ::3", "this would leave no destination opted in"),
        ("optin add --out ::2", "this would leave no destination opted in"),
        (
            "domain remove a.example",
            "this would leave no domain that takes mail, so that every recipient is refused",
        ),
    ] {
        place.fails(words, 2, wanted);
        place.fails(words, 2, "nothing was changed: `--allow-empty` if that is meant");
    }
    assert_eq!(place.contents(), before);
    place.done("domain remove b.example");
    place.done("domain remove --allow-empty a.example");
    place.done("optin add --out --allow-empty ::2");
    place.done("optin remove ::2 ::3");
    // where nothing is refused, and where the next hop decides about recipients
    place.done("optin add ::1");
    place.done("domain add a.example");
    place.configure("mode = \"shadow\"", &place.path("pins"), "");
    place.done("optin remove ::1");
    place.configure("domains = \"all\"", &place.path("pins"), "");
    place.done("domain remove a.example");
}

#[test]
fn a_bad_line_is_named_and_changes_nothing() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32");
    let before = place.contents();
    for (list, wanted) in [
        ("::1\n2001:db8::1/32\n", "-:2: `2001:db8::1/32` has bits beyond its length: write 2001:db8::/32"),
        ("::1\n\n192.0.2.1\n", "-:3: `192.0.2.1` is IPv4"),
        ("::1 maybe\n", "-:1: after the prefix stands `maybe`"),
        ("::1\n::1 out\n", "-:2: ::1/128 stands twice, once in and once out"),
    ] {
        let ended = fed(&mut place.command("optin load -"), list);
        assert_eq!((ended.code, ended.data.as_str()), (Some(2), ""), "{list}");
        assert!(ended.messages.starts_with(&format!("sixgate: {wanted}")), "{list}: {ended:?}");
        assert!(ended.messages.ends_with("; nothing was changed\n"), "{list}: {ended:?}");
    }
    place.fails("optin load /nonexistent", 2, "cannot read /nonexistent");
    assert_eq!(place.contents(), before);
}

#[test]
fn a_bad_argument_is_explained_and_changes_nothing() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32");
    let before = place.contents();
    for (words, wanted) in [
        ("optin add ::1 2001:db8::1/32", "write 2001:db8::/32, or 2001:db8::1/128 for the one address"),
        ("optin add ::1 2001:db8::/129", "is not an IPv6 prefix such as 2001:db8::/32"),
        ("optin add ::1 192.0.2.0/24", "is IPv4: sixgate is about IPv6 only"),
        ("trust add ::1 ::ffff:192.0.2.1", "is an IPv4-mapped address"),
        ("guard add ::1 fe80::1%eth0", "has a zone id"),
        ("optin remove 2001:db8::/32 nothing", "is not an IPv6 prefix"),
        ("domain add a.b bücher.example", "write its A-label, xn--bcher-kva.example"),
        ("domain add a.b -c.d", "unexpected argument"),
        ("domain add a.b c..d", "is not a domain name"),
        ("optin add", "required arguments were not provided"),
        ("optin check 2001:db8::/32", "is not an IPv6 address such as 2001:db8::25"),
    ] {
        place.fails(words, 2, wanted);
    }
    assert_eq!(place.contents(), before);
}
