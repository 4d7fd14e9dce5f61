//! The warnings for settings and stores, and those that there are none for.

use std::path::Path;

use sixgate_common::dest::OptIn;

use super::*;

use crate::store::Marks;

fn config(settings: &str) -> Config {
    let text = format!("hostname = \"gate.example\"\n{settings}");
    Config::parse(&text, Path::new("sixgate.toml")).unwrap()
}

/// The start of each warning, up to the semicolon.
fn warned(settings: &str, contents: &Contents) -> Vec<String> {
    let warnings = of(&config(settings), contents);
    warnings.iter().map(|warning| warning.split_once(';').unwrap().0.to_owned()).collect()
}

#[test]
fn what_would_hurt_is_warned_of() {
    let mut full = Contents::default();
    full.optin.insert("2001:db8::25/128".parse().unwrap(), OptIn::In);
    full.domains.insert("contoso.com".parse().unwrap(), Marks::OPTED_IN);
    let empty = Contents::default();
    let server = "[next_hop]\nsmtp = \"[::1]:10025\"\n";
    let told = format!("{server}client = \"xclient\"\n");
    let no_domain = "no domain is listed: sixgate refuses every recipient";
    let nothing_in = "no destination has opted in: sixgate refuses all mail but that of trusted sources";
    let would_domain = "no domain is listed: enforce would refuse every recipient";
    let would_in = "no destination has opted in: enforce would refuse all mail but that of trusted sources";
    let relay = "mode is shadow, but recipients in domains that are not listed, and local parts such as \
                 user%other, are refused: the next hop does not learn who the client is and would relay for sixgate";
    let shadow = |next_hop: &str| format!("mode = \"shadow\"\n{next_hop}");
    let rows: Vec<(String, &Contents, Vec<&str>)> = vec![
        (server.to_owned(), &full, vec![]),
        (server.to_owned(), &empty, vec![no_domain, nothing_in]),
        (format!("domains = \"all\"\n{told}"), &empty, vec![nothing_in]),
        (shadow(""), &full, vec![]),
        (shadow(""), &empty, vec![would_domain, would_in]),
        (shadow(&told), &empty, vec![would_domain, would_in]),
        (shadow(server), &full, vec![relay]),
        (shadow(server), &empty, vec![no_domain, would_in, relay]),
    ];
    for (settings, contents, wanted) in rows {
        assert_eq!(warned(&settings, contents), wanted, "{settings}");
    }
}
