//! Settings that are likely a mistake cause a warning that names them, impossible ones are refused;
//! the terminal is left alone.

use std::fs;

use crate::installation::{Installation, ran};

#[test]
fn an_entry_for_all_addresses_or_for_none_is_warned_of_by_name() {
    let place = Installation::new();
    place.done("optin add 2001:db8::25");
    place.done("domain add contoso.com");
    for (words, wanted) in [
        ("trust add ::/0", "trust has ::/0: every sender is exempt from opt-in, PTR, SPF and DKIM"),
        ("optin add ::/0", "optin has ::/0: every destination takes mail over IPv6"),
        ("guard add ff02::1", "guard has ff02::1/128, which is multicast"),
        ("guard add ::", "guard has ::/128, which is the unspecified address"),
        ("guard add ::1", "guard has ::1/128, which is the loopback address"),
        ("guard add fe80::1", "guard has fe80::1/128, which is link-local"),
    ] {
        let told = |words: &str| {
            let ran = place.run(words);
            ran.messages.contains(&format!("warning: {wanted}"))
        };
        assert!(!told("status") && !told("config check"), "{words}: warned of before");
        let added = place.run(words);
        assert_eq!(added.code, Some(0), "{added:?}");
        assert!(added.messages.contains(&format!("sixgate: warning: {wanted}")), "{added:?}");
        assert!(told("status") && told("config check"), "{words}");
        for json in [place.json("status"), place.json("config check")] {
            let warnings = json["warnings"].as_array().unwrap();
            assert!(warnings.iter().any(|warning| warning.as_str().unwrap().starts_with(wanted)), "{json}");
        }
        // the command that the warning names undoes it
        let (_, undo) = added.messages.trim_end().rsplit_once("sixgate ").unwrap();
        place.done(undo);
        assert!(!told("status"), "{words}");
    }
    for list in ["optin", "trust"] {
        let added = place.run(&format!("{list} add fe80::1"));
        let wanted = format!("warning: {list} has fe80::1/128, which is link-local: ");
        assert!(added.code == Some(0) && added.messages.contains(&wanted), "{added:?}");
        place.done(&format!("{list} remove fe80::1"));
    }
    fs::write(place.path("list"), "::/0\n2001:db8::/32\n").unwrap();
    let loaded = place.run(&format!("trust load {}", place.path("list").display()));
    assert!(loaded.messages.contains("warning: trust has ::/0: "), "{loaded:?}");
}

#[test]
fn an_address_is_no_domain_wherever_one_is_given() {
    let place = Installation::new();
    place.done("domain add contoso.com");
    let before = place.contents();
    let reason = "is not a domain name but an address, or ends like one";
    for address in ["1.2.3.4", "[1.2.3.4]", "2001:db8::1"] {
        place.fails(&format!("domain add {address}"), 2, &format!("`{address}` {reason}"));
    }
    let list = place.path("list");
    fs::write(&list, "contoso.com\n1.2.3.4\n").unwrap();
    place.fails(&format!("domain load {}", list.display()), 2, &format!("list:2: `1.2.3.4` {reason}"));
    fs::write(&list, before.replace("contoso.com", "1.2.3.4")).unwrap();
    assert_eq!(place.contents(), before);
    // what is exported may be from a time when it was taken
    let imported = place.run(&format!("store import --allow-shrink {}", list.display()));
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let warning = "warning: domain has 1.2.3.4, which is an address or ends like one";
    assert!(imported.messages.contains(warning), "{imported:?}");
    place.configure("", &place.path("pins"), "");
    let good = fs::read_to_string(place.config()).unwrap();
    for name in ["1.2.3.4", "gate.25"] {
        fs::write(place.config(), good.replace("gate.example", name)).unwrap();
        place.fails("config check", 1, &format!("`{name}` is not a fully qualified domain name"));
    }
}

#[test]
fn control_characters_of_a_bad_argument_are_escaped() {
    let place = Installation::new();
    for words in ["domain add", "optin add", "optin", "ptr get", "domain load", "optin list --config"] {
        let mut command = place.command(words);
        if words.ends_with("--config") {
            // given twice, it would be another error
            command = crate::installation::command();
            command.args(words.split_whitespace());
        }
        command.arg("a\x1b[31m\x07\u{9b}b");
        let ran = ran(command.output().unwrap());
        assert_eq!(ran.code, Some(2), "{words}: {ran:?}");
        let mut letters = ran.messages.chars().filter(|letter| *letter != '\n');
        assert!(!letters.any(char::is_control), "{words}: {ran:?}");
        assert!(ran.messages.contains("\\u{1b}"), "{words}: {ran:?}");
    }
}
