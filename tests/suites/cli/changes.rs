//! Commands that change the store: what they print, and that a refused one changes nothing.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use crate::place::{Place, Ran, ran};

fn fed(command: &mut Command, input: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    ran(child.wait_with_output().unwrap())
}

#[test]
fn each_entry_says_what_became_of_it() {
    let place = Place::new();
    for (words, wanted) in [
        ("optin add 2001:db8::/32 ::1", "added 2001:db8::/32 in\nadded ::1/128 in\n"),
        ("optin add ::1", "unchanged ::1/128 in\n"),
        ("optin add --out ::1", "changed ::1/128 out\n"),
        ("optin remove ::1", "removed ::1/128 out\n"),
        ("guard add 2001:db8::/32", "added 2001:db8::/32\n"),
        ("guard add 2001:db8::/32", "unchanged 2001:db8::/32\n"),
        ("guard remove 2001:db8::/32", "removed 2001:db8::/32\n"),
        ("trust add ::1", "added ::1/128\n"),
        ("trust remove ::1", "removed ::1/128\n"),
        ("domain add Contoso.COM", "added contoso.com\n"),
        ("domain add contoso.com", "unchanged contoso.com\n"),
        ("domain remove CONTOSO.com", "removed contoso.com\n"),
    ] {
        assert_eq!(place.done(words), wanted, "{words}");
    }
}

#[test]
fn what_is_not_there_is_named_and_the_rest_is_removed() {
    let place = Place::new();
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
fn a_list_replaces_the_whole_set_and_says_what_differed() {
    let place = Place::new();
    place.done("optin add 2001:db8:1::/48 2001:db8:2::/48 2001:db8:3::/48");
    let list = "# new\n2001:db8:2::/48\n2001:db8:3::/48 out\n2001:db8:4::/48 # the fourth\n";
    fs::write(place.path("list"), list).unwrap();
    let file = place.path("list");
    let printed = place.done(&format!("optin load {}", file.display()));
    let wanted = "changed 2001:db8:3::/48 out\nadded 2001:db8:4::/48 in\nremoved 2001:db8:1::/48 in\n";
    assert_eq!(printed, wanted);
    let listed = place.done("optin list");
    assert_eq!(listed, "2001:db8:2::/48 in\n2001:db8:3::/48 out\n2001:db8:4::/48 in\n");
    let again = fed(&mut place.command("optin load -"), &listed);
    assert_eq!(again, Ran { code: Some(0), data: String::new(), messages: String::new() });
}

#[test]
fn a_bad_line_is_named_and_changes_nothing() {
    let place = Place::new();
    place.done("optin add 2001:db8::/32");
    let before = fs::read(place.store()).unwrap();
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
    assert_eq!(fs::read(place.store()).unwrap(), before);
}

#[test]
fn a_bad_argument_is_explained_and_changes_nothing() {
    let place = Place::new();
    place.done("optin add 2001:db8::/32");
    let before = fs::read(place.store()).unwrap();
    for (words, wanted) in [
        ("optin add ::1 2001:db8::1/32", "write 2001:db8::/32, or 2001:db8::1/128 for the one address"),
        ("optin add ::1 2001:db8::/129", "is not an IPv6 prefix such as 2001:db8::/32"),
        ("optin add ::1 192.0.2.0/24", "is IPv4: sixgate is about IPv6 only"),
        ("trust add ::1 ::ffff:192.0.2.1", "is an IPv4-mapped address"),
        ("guard add ::1 fe80::1%eth0", "has a zone id"),
        ("optin remove 2001:db8::/32 nothing", "is not an IPv6 prefix"),
        ("domain add a.b bücher.example", "give the domain's A-label, which begins with xn--"),
        ("domain add a.b -c.d", "unexpected argument"),
        ("domain add a.b c..d", "is not a domain name"),
        ("optin add", "required arguments were not provided"),
        ("optin check 2001:db8::/32", "is not an IPv6 address such as 2001:db8::25"),
    ] {
        place.fails(words, 2, wanted);
    }
    assert_eq!(fs::read(place.store()).unwrap(), before);
}
