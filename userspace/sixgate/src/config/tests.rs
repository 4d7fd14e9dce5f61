//! The defaults; what is refused, with its line, is in the suite `configs`.

use std::path::Path;

use super::{Config, Domains, NextHop};
use sixgate_smtp::policy::Mode;

use crate::nexthop::{ClientIdentity, Protocol};

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("f")).map_err(|error| error.to_string())
}

#[test]
fn a_host_name_is_enough_and_the_shipped_file_spells_the_defaults_out() {
    let least = parse("hostname = \"gate.example\"").unwrap();
    let shipped = parse(include_str!("../../../../packaging/sixgate.toml")).unwrap();
    assert_eq!(shipped.mode, Mode::Shadow, "a new installation refuses nothing");
    // the unit's own /var/tmp does not outlive a restart
    assert_eq!(shipped.temporary_directory, Path::new("/var/lib/sixgate"));
    let temporary_directory = least.temporary_directory.clone();
    let shipped = Config { mode: Mode::Enforce, temporary_directory, ..shipped };
    assert_eq!(format!("{least:?}"), format!("{shipped:?}"));
}

#[test]
fn a_host_name_leaves_space_for_every_refusing_reply() {
    let name = |labels: usize| format!("{}gate.example", format!("{}.", "a".repeat(50)).repeat(labels));
    assert!(parse(&format!("hostname = \"{}\"", name(2))).is_ok());
    assert!(parse(&format!("hostname = \"{}\"\nanswer = \"daemon\"", name(3))).is_ok());
    let error = parse(&format!("mode = \"shadow\"\nhostname = \"{}\"", name(3))).unwrap_err();
    assert_eq!(
        error,
        "f:2: the host name has 165 octets: the XDP program can send replies with 114 at most; shorten it, or \
         set `answer = \"daemon\"`"
    );
    let error = parse(&format!("hostname = \"{}\"", name(4))).unwrap_err();
    assert_eq!(
        error,
        "f:1: hostname: the name has 216 octets: a refusing reply with it would be longer than 248"
    );
}

#[test]
fn any_domain_goes_only_to_a_next_hop_that_judges_the_client() {
    for (name, protocol) in [("smtp", Protocol::Smtp), ("lmtp", Protocol::Lmtp)] {
        for address in ["[::1]:26", "unix:/run/mail.sock"] {
            let server = |client: &str| {
                let server = format!("{name} = \"{address}\"\n{client}");
                parse(&format!("hostname = \"a.b\"\ndomains = \"all\"\n[next_hop]\n{server}"))
            };
            for (text, client) in [("xclient", ClientIdentity::Xclient), ("proxy", ClientIdentity::Proxy)] {
                let wanted = NextHop::Server { protocol, address: address.parse().unwrap(), client };
                assert_eq!(server(&format!("client = \"{text}\"")).unwrap().next_hop, wanted);
            }
            let error = server("").unwrap_err();
            assert!(error.starts_with("f:2: \"all\" with a mail server as next hop"), "{error}");
        }
    }
    let maildir = parse("hostname = \"a.b\"\ndomains = \"all\"").unwrap();
    assert_eq!(maildir.domains, Domains::All);
}

#[test]
fn a_conflict_names_the_line_of_its_key() {
    for (text, wanted) in [
        ("[next_hop]\nmaildir = \"/m\"\nsmtp = \"[::1]:26\"", 4),
        ("[next_hop]\nmaildir = \"/m\"\n\nclient = \"none\"", 5),
        ("[next_hop]\nclient = \"none\"", 3),
        ("[next_hop]\nlmtp = \"[::1]:24\"\nsmtp = \"[::1]:26\"", 3),
        ("[next_hop]\nlmtp = \"[::1]:24\"\nmaildir = \"/m\"", 3),
        ("[limits]\n\nmessage_memory = 5", 4),
        ("[limits]\nmessage_size = 4000000000\nmessage_disk = 2000000000", 4),
        ("limits.message_memory = 5", 2),
        ("[limits]\ndkim_large = 2\ndkim_concurrency_large = 2", 3),
    ] {
        let error = parse(&format!("hostname = \"a.b\"\n{text}")).unwrap_err();
        assert!(error.starts_with(&format!("f:{wanted}: ")), "{text}: {error}");
    }
}

#[test]
fn keys_with_a_new_name_have_their_effect_and_are_listed() {
    let limits = |names: [&str; 5]| {
        let [small, large, message, wait, hashed] = names;
        let text = format!("{small} = 3\n{large} = 4\n{message} = 5\n{wait} = \"6s\"\n{hashed} = 7");
        parse(&format!("hostname = \"a.b\"\n[limits]\n{text}")).unwrap()
    };
    let old = ["dkim_small", "dkim_large", "dkim_large_from", "dkim_wait", "dkim_hashing"];
    let new = [
        "dkim_concurrency_small",
        "dkim_concurrency_large",
        "dkim_large_message",
        "dkim_queue_timeout",
        "dkim_max_hashed",
    ];
    let (former, current) = (limits(old), limits(new));
    assert_eq!(former.limits, current.limits);
    assert!(current.renamed_keys.is_empty());
    let listed: Vec<_> = former.renamed_keys.iter().map(|key| (key.old, key.new)).collect();
    assert_eq!(listed, old.into_iter().zip(new).collect::<Vec<_>>());
}
