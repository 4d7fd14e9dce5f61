//! The four lists as text, CSV and JSON: exported, and loaded again.

use std::fs;

use crate::installation::Installation;

const LISTS: [&str; 4] = ["optin", "domain", "trust", "guard"];

#[test]
fn each_list_is_exported_and_loaded_in_each_format() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32 ::1");
    place.done("optin add --out 2001:db8:1::/48");
    place.done("domain add a.example both.example");
    place.done("domain add --temporary both.example later.example");
    place.done("trust add 2001:db8:10::/48");
    place.done("guard add 2001:db8:25::/64 2001:db8::25");
    for (list, format, wanted) in [
        ("optin", "csv", "prefix,decision\n::1/128,in\n2001:db8::/32,in\n2001:db8:1::/48,out\n"),
        (
            "domain",
            "csv",
            "domain,opted_in,temporary\na.example,true,false\nboth.example,true,true\nlater.example,false,true\n",
        ),
        ("trust", "csv", "prefix\n2001:db8:10::/48\n"),
        ("guard", "csv", "prefix\n2001:db8::25/128\n2001:db8:25::/64\n"),
        ("guard", "text", "2001:db8::25/128\n2001:db8:25::/64\n"),
        ("trust", "json", "{\"trust\": [\n  {\"prefix\":\"2001:db8:10::/48\"}\n]}\n"),
    ] {
        assert_eq!(place.done(&format!("{list} export --format {format}")), wanted);
    }
    assert_eq!(place.done("optin export"), place.done("optin list"));
    for format in ["text", "csv", "json"] {
        let other = Installation::new();
        for list in LISTS {
            let exported = place.done(&format!("{list} export --format {format}"));
            fs::write(other.path("list"), exported).unwrap();
            let load = format!("{list} load --format {format} {}", other.path("list").display());
            let tried = other.done(&format!("{load} --dry-run"));
            assert!(tried.contains("dry run, nothing was changed: "), "{tried}");
            other.done(&load);
            let again = other.done(&load);
            assert!(again.starts_with("0 added, 0 changed, 0 removed, "), "{again}");
        }
        assert_eq!(other.contents(), place.contents(), "{format}");
        // and what `list --json` prints
        if format == "json" {
            for list in LISTS {
                fs::write(other.path("list"), place.done(&format!("{list} list --json"))).unwrap();
                let load = format!("{list} load --format json {}", other.path("list").display());
                let again = other.done(&load);
                assert!(again.starts_with("0 added, 0 changed, 0 removed, "), "{again}");
            }
        }
    }
}

#[test]
fn a_file_in_another_format_is_refused_with_its_line_and_nothing_changes() {
    let place = Installation::new();
    place.done("optin add 2001:db8::/32");
    place.done("domain add a.example");
    let before = (place.contents(), place.done("store log"));
    for (words, text, wanted) in [
        (
            "optin load --format csv",
            "2001:db8::/32\n",
            ":1: unknown column `2001:db8::/32`: the first line names ",
        ),
        ("optin load --format csv", "prefix,note\n::1,x\n", ":1: unknown column `note`"),
        ("optin load --format csv", "prefix\n::1\n# a comment\n::1\n", ":4: ::1/128 stands twice"),
        (
            "optin load --format csv",
            "prefix,decision\n::1,in\n::2,maybe\n",
            ":3: `maybe` in the column `decision`",
        ),
        ("domain load --format csv", "domain\nb..example\n", ":2: `b..example` is not a domain name"),
        (
            "domain load --format json",
            "{\"domains\": [\n{\"domain\": \"b.example\", \"x\": 1}]}",
            ":2: unknown key `x`",
        ),
        ("trust load --format json", "prefix\n::1\n", ":1: expected value"),
        ("guard load --format csv", "prefix\n", " is empty; nothing was changed: `--allow-empty`"),
        ("optin load", "prefix,decision\n::1,in\n", ":1: `prefix,decision` is not an IPv6 prefix"),
    ] {
        fs::write(place.path("list"), text).unwrap();
        let words = format!("{words} {}", place.path("list").display());
        place.fails(&words, 2, wanted);
        place.fails(&words, 2, "nothing was changed");
    }
    assert_eq!((place.contents(), place.done("store log")), before);
    // a file that was cut off within a line can be read all the same
    for (words, text, warns) in [
        ("trust load", "::1\n::2", true),
        ("trust load --format csv", "prefix\n::1\n::22", true),
        ("trust load", "::1\n::2\n", false),
        ("trust load", "::1", false),
        ("trust load --format json", "{\"trust\": [\n{\"prefix\": \"::1\"}]}", false),
    ] {
        fs::write(place.path("list"), text).unwrap();
        let ran = place.run(&format!("{words} --allow-shrink {}", place.path("list").display()));
        assert_eq!(
            (ran.code, ran.messages.contains("has no line end: make sure")),
            (Some(0), warns),
            "{ran:?}"
        );
    }
    place.fails("optin load --format yaml list", 2, "possible values: text, csv, json");
}
