//! Reading commands: text, JSON, exit codes. No such command writes.

use std::{io::Write, process::Stdio};

use serde_json::json;

use crate::installation::{Installation, Ran, ran};

fn filled() -> Installation {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32 2001:db8:5::25");
    place.done("optin add --out 2001:db8:5::/48");
    place.done("guard add 2001:db8::/32");
    place.done("trust add 2001:db8:10::/48");
    place.done("domain add contoso.com Example.ORG");
    place
}

#[test]
fn a_check_names_the_prefix_that_decides_and_answers_by_its_exit_code() {
    let place = filled();
    for (words, code, wanted) in [
        ("optin check 2001:db8:1::1", 0, "2001:db8:1::1 has opted in, by 2001:db8::/32\n"),
        ("optin check 2001:db8:5::25", 0, "2001:db8:5::25 has opted in, by 2001:db8:5::25/128\n"),
        ("optin check 2001:db8:5::26", 1, "2001:db8:5::26 has not opted in: 2001:db8:5::/48 is excluded\n"),
        ("optin check 2001:db9::1", 1, "2001:db9::1 has not opted in: no prefix holds it\n"),
        ("guard check 2001:db8::1", 0, "2001:db8::1 is guarded, by 2001:db8::/32 (store)\n"),
        ("guard check ::1", 1, "::1 is not guarded: no prefix holds it\n"),
        ("trust check 2001:db8:10::1", 0, "2001:db8:10::1 is trusted, by 2001:db8:10::/48\n"),
        ("trust check 2001:db8:11::1", 1, "2001:db8:11::1 is not trusted: no prefix holds it\n"),
        ("domain check CONTOSO.com", 0, "contoso.com takes mail here: it is listed\n"),
        ("domain check mail.contoso.com", 1, "mail.contoso.com takes no mail here: it is not listed\n"),
    ] {
        let wanted = Ran { code: Some(code), data: wanted.to_owned(), messages: String::new() };
        assert_eq!(place.run(words), wanted, "{words}");
    }
}

#[test]
fn every_domain_takes_mail_where_the_configuration_has_all() {
    let place = filled();
    place.configure("domains = \"all\"", &place.path("pins"), "");
    let wanted = "mail.contoso.com takes mail here: the configuration has `domains = \"all\"`\n";
    assert_eq!(place.done("domain check mail.contoso.com"), wanted);
    let wanted =
        json!({"domain": "mail.contoso.com", "takes_mail": true, "listed": false, "temporary": false});
    assert_eq!(place.json("domain check mail.contoso.com"), wanted);
}

#[test]
fn lists_are_sorted_one_entry_a_line() {
    let place = filled();
    for (words, wanted) in [
        ("optin list", "2001:db8::/32 in\n2001:db8:5::/48 out\n2001:db8:5::25/128 in\n"),
        ("guard list", "2001:db8::/32 store\n"),
        ("trust list", "2001:db8:10::/48\n"),
        ("domain list", "contoso.com\nexample.org\n"),
    ] {
        assert_eq!(place.done(words), wanted, "{words}");
        assert_eq!(Installation::new().done(words), "", "{words} of an empty store");
    }
}

#[test]
fn json_has_the_documented_fields() {
    let place = filled();
    for (words, wanted) in [
        (
            "optin list",
            json!({"optin": [
                {"prefix": "2001:db8::/32", "decision": "in"},
                {"prefix": "2001:db8:5::/48", "decision": "out"},
                {"prefix": "2001:db8:5::25/128", "decision": "in"},
            ]}),
        ),
        (
            "optin check 2001:db8:5::1",
            json!({"address": "2001:db8:5::1", "opted_in": false, "prefix": "2001:db8:5::/48", "decision": "out"}),
        ),
        ("optin check ::1", json!({"address": "::1", "opted_in": false, "prefix": null, "decision": null})),
        ("guard list", json!({"guard": [{"prefix": "2001:db8::/32", "origin": "store"}]})),
        (
            "guard check 2001:db8::1",
            json!({"address": "2001:db8::1", "guarded": true, "prefix": "2001:db8::/32", "origin": "store"}),
        ),
        ("guard check ::1", json!({"address": "::1", "guarded": false, "prefix": null, "origin": null})),
        ("trust list", json!({"trust": [{"prefix": "2001:db8:10::/48"}]})),
        ("trust check ::1", json!({"address": "::1", "trusted": false, "prefix": null})),
        (
            "domain list",
            json!({"domains": [
                {"domain": "contoso.com", "opted_in": true, "temporary": false},
                {"domain": "example.org", "opted_in": true, "temporary": false},
            ]}),
        ),
        (
            "domain check a.b",
            json!({"domain": "a.b", "takes_mail": false, "listed": false, "temporary": false}),
        ),
        (
            "config check",
            json!({"file": place.config().to_str().unwrap(), "good": true, "line": null, "reason": null, "warnings": [
                "hostname is gate.example, a name for examples (RFC 2606): sixgate greets by it, and writes it into Received and Authentication-Results; set it to this host's name in DNS",
            ]}),
        ),
        (
            "status",
            json!({
                    "attached": false, "pins_readable": true, "mode": "enforce", "answer": "daemon", "answer_configured": "daemon",
            "answer_fallback": null, "refuse_at": "rcpt", "ready": false,
                    "interfaces": [], "embedded_tag": null,
                    "optin": {"wanted": 3, "found": null},
                    "guard": {"wanted": 1, "found": null},
                    "trust": {"wanted": 1, "found": null},
                    "domains": 2, "missing": 0, "surplus": 0, "differences": [],
                    "revision": 6, "shown": null, "is_behind": false,
                    "problems": [place.daemon_is_down()], "warnings": [],
                    "kernel": {}, "replies_current": true,
                    "settings": {
                        "mode": {"file": "enforce", "kernel": null, "daemon": null},
                        "answer": {"file": "daemon", "kernel": null, "daemon": null},
                        "refuse_at": {"file": "rcpt", "kernel": null, "daemon": null},
                        "permanent_refusals": {"file": "", "kernel": null, "daemon": null},
                        "temporary_refusals": {"file": "", "kernel": null, "daemon": null},
                        "domains": {"file": "listed", "kernel": null, "daemon": null},
                    },
                    "daemon": null,
                }),
        ),
    ] {
        assert_eq!(place.json(words), wanted, "{words}");
    }
}

#[test]
fn status_warns_of_what_refuses_everything() {
    let place = Installation::new();
    place.done("optin add --out 2001:db8::/32");
    let warnings = place.json("status")["warnings"].clone();
    let wanted = json!([
        "no domain is listed: sixgate refuses every recipient; list each domain that takes mail over IPv6: \
         sixgate domain add example.com",
        "no destination has opted in: sixgate refuses all mail but that of trusted sources; opt the addresses in \
         that take mail over IPv6: sixgate optin add 2001:db8::25",
    ]);
    assert_eq!(warnings, wanted);
    // nothing is refused: the text is that of the daemon's start
    place.configure("mode = \"shadow\"", &place.path("pins"), "");
    let warnings = place.json("status")["warnings"].to_string();
    assert!(warnings.contains("no domain is listed: enforce would refuse every recipient"), "{warnings}");
    assert!(warnings.contains("no destination has opted in: enforce would refuse all mail"), "{warnings}");
    place.done("optin add 2001:db8::/32");
    place.configure("mode = \"shadow\"\ndomains = \"all\"", &place.path("pins"), "");
    assert_eq!(place.json("status")["warnings"], json!([]));
}

#[test]
fn reading_makes_no_file() {
    let place = Installation::new();
    for words in ["optin list", "guard list", "trust list", "domain list", "optin check ::1", "status"] {
        place.run(words);
        assert_eq!(place.state(), ["store.db", "store.json.taken-over"], "{words}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Installation::new();
    let mut load = place.command("optin load -");
    let mut child = load.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let list: String = (0..20_000).map(|at| format!("2001:db8::{at:x}\n")).collect();
    input.write_all(list.as_bytes()).unwrap();
    drop(input);
    assert_eq!(ran(child.wait_with_output().unwrap()).code, Some(0));

    let mut child = place.command("optin list").spawn().unwrap();
    // far less than a pipe holds is read before the end is closed
    drop(child.stdout.take());
    let ended = ran(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.messages.as_str()), (Some(0), ""));
}
