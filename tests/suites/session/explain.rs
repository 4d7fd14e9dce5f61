//! `sixgate explain` beside a running daemon: its replies are those of that daemon's session, in
//! every combination of the results; and its output where arguments are missing or wrong.

use std::fs;

use serde_json::Value;
use sixgate_tests::{
    daemon,
    gate::Need,
    sign::{self, ED25519_RECORD},
    site::{GATE, INTERFACE, OTHER, SENDER, Site},
};

use crate::can_run;

/// A sender without reverse DNS, and one whose reverse DNS does not answer.
const NAMELESS: &str = "2001:db8:51::240";
const SILENT: &str = "2001:db8:51::51";
/// A sender that is exempt.
const TRUSTED: &str = "2001:db8:51::70";

const ZONE: &str = "
    2001:db8:51::4 PTR mail.sender.example
    mail.sender.example AAAA 2001:db8:51::4
    2001:db8:51::51 FAULT servfail
    2001:db8:51::70 PTR mail.trusted.example
    pass.example TXT \"v=spf1 include:_spf.%{d} -all\"
    _spf.pass.example TXT \"v=spf1 a:none.example ip6:2001:db8:51::/64 ~all\"
    fail.example TXT \"v=spf1 redirect=_spf.fail.example\"
    _spf.fail.example TXT \"v=spf1 -all exp=why.fail.example\"
    why.fail.example TXT \"not %{i}\"
    silent.example FAULT servfail
    twice.example TXT \"v=spf1 -all\"
    twice.example TXT \"v=spf1 +all\"
    twice.example TXT \"another text\"
";

fn explained(site: &Site, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = daemon::run(Some(&site.gate), &site.config(), &[&["explain"], arguments].concat()).unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn site(settings: &str) -> Site {
    let zone = format!("{ZONE}\n    s._domainkey.signed.example TXT {ED25519_RECORD}\n");
    let site = Site::new(&zone, "answer = \"daemon\"").configured(settings);
    for command in ["optin add 2001:db8:25::25", "domain add contoso.com", "trust add 2001:db8:51::70"] {
        site.sixgate(command);
    }
    site
}

/// The three kinds of messages that DKIM tells apart.
fn messages(site: &Site) -> [(&'static str, Vec<u8>); 3] {
    let plain = b"From: a@signed.example\r\nSubject: explained\r\n\r\nhello\r\n".to_vec();
    let good = sign::signed(&sign::ed25519("signed.example", "s", &["From", "Subject"]), &plain);
    let altered = [good.as_slice(), b"added\r\n"].concat();
    let all = [("plain", plain), ("good", good), ("altered", altered)];
    for (name, octets) in &all {
        fs::write(site.folder().join(name), octets).unwrap();
    }
    all
}

#[test]
fn explain_and_session_agree_in_every_combination() {
    if !can_run(&[]) {
        return;
    }
    for settings in [
        "",
        "mode = \"shadow\"",
        "permanent_refusals = [\"no_ptr\", \"not_authenticated\"]\nptr.demand_forward_confirmation = true",
    ] {
        let site = site(settings);
        let messages = messages(&site);
        let daemon = site.try_serve(&["--no-xdp"]).unwrap();
        for source in [SENDER, NAMELESS, SILENT, TRUSTED] {
            for destination in [GATE, OTHER] {
                for domain in ["pass.example", "fail.example", "silent.example", "none.example"] {
                    for (name, octets) in &messages {
                        let said = send(&site, source, destination, domain, octets);
                        let file = site.folder().join(name);
                        let sender = format!("a@{domain}");
                        let (code, text, error) = explained(
                            &site,
                            &[
                                "--json",
                                "--from",
                                source,
                                "--to",
                                destination,
                                "--helo",
                                "mail.sender.example",
                                "--sender",
                                &sender,
                                "--rcpt",
                                "user@contoso.com",
                                "--message",
                                file.to_str().unwrap(),
                            ],
                        );
                        let row = format!("{settings:?} {source} {destination} {domain} {name}");
                        let explained: Value =
                            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{row}: {error}"));
                        assert_eq!(replies(&explained), said, "{row}: {explained:#}");
                        let is_accepted = said.last().is_some_and(|last| last == "next hop");
                        assert_eq!(code, Some(i32::from(!is_accepted)), "{row}");
                    }
                }
            }
        }
        daemon.stop().unwrap();
    }
}

/// The replies to RCPT and, if there is one, to the message; "next hop" where it accepts.
fn send(site: &Site, source: &str, destination: &str, domain: &str, message: &[u8]) -> Vec<String> {
    let mut client = site.connect(source, destination);
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    assert_eq!(client.say(&format!("MAIL FROM:<a@{domain}>")).unwrap().code, 250);
    let shown = |reply: sixgate_tests::client::Reply| {
        if reply.code == 250 { "next hop".to_owned() } else { reply.last().to_owned() }
    };
    let rcpt = shown(client.say("RCPT TO:<user@contoso.com>").unwrap());
    if rcpt != "next hop" {
        return vec![rcpt];
    }
    assert_eq!(client.say("DATA").unwrap().code, 354);
    client.write(message).unwrap();
    client.write(b".\r\n").unwrap();
    vec![rcpt, shown(client.reply().unwrap())]
}

/// The same as explained.
fn replies(explained: &Value) -> Vec<String> {
    let all = explained["replies"].as_array().unwrap();
    let wanted = |reply: &&Value| {
        let command = reply["command"].as_str().unwrap();
        command.starts_with("RCPT") || command == "(end of the message)"
    };
    let shown = |reply: &Value| match reply["author"].as_str() {
        Some("next_hop") => "next hop".to_owned(),
        _ => reply["reply"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned(),
    };
    all.iter().filter(wanted).map(shown).collect()
}

#[test]
fn the_tree_shows_the_way_to_the_verdict() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    messages(&site);
    let altered = site.folder().join("altered");
    let (code, text, _) = explained(
        &site,
        &[
            "--from",
            SENDER,
            "--to",
            GATE,
            "--helo",
            "mail.sender.example",
            "--sender",
            "a@fail.example",
            "--rcpt",
            "user@contoso.com",
            "--rcpt",
            "user@elsewhere.example",
            "--message",
            altered.to_str().unwrap(),
        ],
    );
    assert_eq!(code, Some(1), "{text}");
    let parts = [
        "|  |- trust: no prefix holds 2001:db8:51::4\n",
        "|  |- optin: 2001:db8:25::25/128 in: 2001:db8:25::25 has opted in\n",
        "|- PTR of 2001:db8:51::4: pass: mail.sender.example\n",
        "|  `- AAAA mail.sender.example: 2001:db8:51::4\n",
        "|- recipient user@contoso.com: domain contoso.com takes mail here\n",
        "|- recipient user@elsewhere.example: domain elsewhere.example is not listed",
        "|- SPF of MAIL FROM fail.example: fail (matched: redirect=_spf.fail.example > -all)\n",
        "|  |- TXT fail.example: \"v=spf1 redirect=_spf.fail.example\"\n",
        "|  |- redirect=_spf.fail.example: followed\n",
        "|  |- -all: match\n",
        "|  |- limits: 1 of 10 terms that ask DNS, 0 of 2 void\n",
        "|  `- the domain explains: not 2.0.0.1.0.D.B.8.",
        "|- DKIM 1 of 1, d=signed.example s=s a=ed25519-sha256: fail (body hash mismatch)\n",
        "= in the signature\n",
        "= of the body, 14 octets in canonical form",
        "   |- RCPT TO:<user@elsewhere.example>   <- domain_not_opted_in\n",
        "      `- 450 4.7.26 Service unavailable, message sent over IPv6 [2001:db8:51::4] must pass either SPF or \
         DKIM validation.\n",
        "\nverdict: refused\n",
    ];
    for part in parts {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[test]
fn the_terms_of_included_records_stand_below_the_include() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let arguments =
        ["--from", SENDER, "--to", GATE, "--sender", "a@pass.example", "--rcpt", "user@contoso.com"];
    let (code, text, _) = explained(&site, &arguments);
    assert_eq!(code, Some(0), "{text}");
    let include = text.find("|  |- include:_spf.%{d} [_spf.pass.example]: match\n");
    let inner = text.find("|  |  |- a:none.example: no match\n");
    assert!(include.is_some() && include < inner, "{text}");
    assert!(text.contains("limits: 2 of 10 terms that ask DNS, 1 of 2 void"), "{text}");
    // what was not given
    assert!(text.contains("without --helo the client is taken to send EHLO [IPv6:2001:db8:51::4]"), "{text}");
    assert!(text.contains("without --message the message is taken to have no DKIM signature"), "{text}");
}

#[test]
fn shadow_mode_shows_what_enforce_would_have_replied() {
    if !can_run(&[]) {
        return;
    }
    let site = site("mode = \"shadow\"");
    let arguments =
        ["--from", NAMELESS, "--to", GATE, "--sender", "a@fail.example", "--rcpt", "user@contoso.com"];
    let (code, text, _) = explained(&site, &arguments);
    assert_eq!(code, Some(0), "{text}");
    let no_ptr = "450 4.7.25 Service unavailable, sending IPv6 address [2001:db8:51::240] must have reverse DNS record.";
    for part in [
        "<- passed on; mode enforce refuses it: no_ptr\n",
        "<- passed on; mode enforce refuses it: not_authenticated\n",
        "`- replies in mode enforce\n",
        "\nverdict: accepted for 1 of 1 recipients, passed on to the next hop\nmode enforce: refused\n",
        &format!("\n    {no_ptr}\n"),
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
}

#[test]
fn explain_names_what_is_wrong_and_writes_nothing() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let both = ["--from", SENDER, "--to", GATE];
    let message = |name: &str, octets: &[u8]| {
        let path = site.folder().join(name);
        fs::write(&path, octets).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let missing = site.folder().join("missing").to_str().unwrap().to_owned();
    let line_feeds = message("line-feeds", b"From: a@b.example\n\nhello\n");
    let no_header = message("no-header", b"\r\nhello\r\n");
    let before = fs::read(site.folder().join("store.db")).unwrap();
    let rows: &[(&[&str], i32, &str)] = &[
        (&["--from", "192.0.2.1", "--to", GATE], 2, "`192.0.2.1` is IPv4: sixgate is about IPv6 only"),
        (&["--from", SENDER, "--to", "gate.example"], 2, "`gate.example` is not an IPv6 address"),
        (
            &["--from", SENDER, "--to", GATE, "--sender", "a@b.example>\r\nQUIT"],
            2,
            "it has a control character",
        ),
        (&["--from", SENDER, "--to", GATE, "--message", &missing], 2, "cannot read the message"),
        (&["--from", SENDER, "--to", GATE, "--rcpt", "user@a@b"], 1, "501 5.1.3 Bad address syntax"),
        (&["--from", SILENT, "--to", GATE], 1, "replied SERVFAIL (asked: [::1]:53)"),
        (&["--from", NAMELESS, "--to", GATE], 1, "PTR of 2001:db8:51::240: permerror: no PTR record"),
        (
            &["--from", TRUSTED, "--to", OTHER, "--rcpt", "user@contoso.com"],
            0,
            "trust: 2001:db8:51::70/128 holds",
        ),
        (
            &["--from", SENDER, "--to", GATE, "--message", &line_feeds],
            1,
            "3 of 3 lines of the file end with LF alone",
        ),
        (&["--from", SENDER, "--to", GATE, "--message", &no_header], 1, "DKIM: the message has no signature"),
        (&both, 0, "1 of 1 recipients accepted, no message judged"),
        (&["--from", "[2001:db8:51::4]", "--to", GATE], 0, "2001:db8:51::4 to port 25 of 2001:db8:25::25"),
        (&["--from", SENDER, "--to", GATE, "--rcpt", ""], 2, "it is empty"),
        (
            &["--from", SENDER, "--to", GATE, "--sender", "a@twice.example"],
            1,
            "twice.example has 2 SPF records: only one is allowed\n",
        ),
        (
            &["--from", SENDER, "--to", GATE, "--sender", "a@absent.example"],
            1,
            "absent.example has no SPF record\n",
        ),
        (&["--from", SENDER, "--to", GATE, "--sender", "local"], 1, "SPF of MAIL FROM (no domain): none ("),
    ];
    for (arguments, wanted, part) in rows {
        let (code, text, error) = explained(&site, arguments);
        assert_eq!(code, Some(*wanted), "{arguments:?}: {text}{error}");
        assert!(text.contains(part) || error.contains(part), "{arguments:?}: {part:?} in\n{text}{error}");
    }
    assert_eq!(fs::read(site.folder().join("store.db")).unwrap(), before);
    fs::remove_file(site.folder().join("store.db")).unwrap();
    let (code, _, error) = explained(&site, &both);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("no opt-in store at"), "{error}");
}

#[test]
fn what_the_xdp_program_refuses_is_explained_and_no_entry_is_written() {
    if !can_run(&[Need::Bpffs, Need::Xdp]) {
        return;
    }
    let site =
        site(&format!("answer = \"kernel\"\nxdp = {{ interfaces = [\"{INTERFACE}\"], mode = \"generic\" }}"));
    let daemon = site.serve(&[]);
    let listed = site.sixgate("ptr list");
    let (_, text, _) = explained(&site, &["--from", SENDER, "--to", OTHER, "--rcpt", "user@contoso.com"]);
    for part in [
        "guard: 2001:db8:25::99/128 (interface) holds 2001:db8:25::99\n",
        "connection: refused from its first packet (address_not_opted_in), answered by the kernel",
        "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    explained(&site, &["--from", NAMELESS, "--to", GATE]);
    assert_eq!(site.sixgate("ptr list"), listed, "explain wrote an entry");
    site.sixgate(&format!("ptr set {SENDER} absent"));
    let (code, text, _) = explained(&site, &["--from", SENDER, "--to", GATE]);
    assert_eq!(code, Some(1), "{text}");
    for part in [
        "the PTR map has: absent, from `sixgate ptr set`",
        "connection: refused from its first packet (no_ptr), answered by the kernel",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    daemon.stop().unwrap();
}

#[test]
fn the_hash_of_a_header_that_was_changed_is_shown() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let [_, (_, good), _] = messages(&site);
    let renamed = String::from_utf8(good).unwrap().replace("Subject: explained", "Subject: [list] explained");
    let path = site.folder().join("renamed");
    fs::write(&path, &renamed).unwrap();
    let (code, text, _) = explained(
        &site,
        &[
            "--from",
            SENDER,
            "--to",
            GATE,
            "--sender",
            "a@fail.example",
            "--rcpt",
            "user@contoso.com",
            "--message",
            path.to_str().unwrap(),
        ],
    );
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("a=ed25519-sha256: fail (signature mismatch)\n"), "{text}");
    // folded at a blank
    let text = text.replace("\n|  |    ", " ");
    assert!(text.contains("which field differs cannot be seen"), "{text}");
    let hash = text.split_once("SHA-256 ").and_then(|(_, rest)| rest.split_once(" of the signed fields, "));
    let (hash, _) = hash.unwrap_or_else(|| panic!("{text}"));
    assert_eq!((hash.len(), hash.ends_with('=')), (44, true), "{text}");
}
