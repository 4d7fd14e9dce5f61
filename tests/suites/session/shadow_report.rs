//! `sixgate shadow report`: the refusals that shadow mode passes on, kept by the daemon and read
//! without it.
//!
//! What shadow mode passes on is tested by [`crate::shadow`].

use serde_json::Value;
use sixgate_tests::{
    site::{GATE, SENDER, Site},
    timeouts::wait_until,
};

use crate::{can_run, site};

/// A sender without reverse DNS.
const UNNAMED: &str = "2001:db8:51::9";

/// A message from `source` that enforce would refuse.
fn pass(site: &Site, source: &str, mail_from: &str) {
    let mut client = site.connect(source, GATE);
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    client.say(&format!("MAIL FROM:<{mail_from}>")).unwrap();
    assert_eq!(client.say("RCPT TO:<user@contoso.com>").unwrap().code, 250);
    client.say("DATA").unwrap();
    assert_eq!(client.message("Message-ID: <1@x>\r\n\r\n").unwrap().code, 250);
    client.say("QUIT").unwrap();
    client.closed().unwrap();
}

fn report(site: &Site) -> Value {
    serde_json::from_slice(&site.run("shadow report --json").stdout).unwrap_or_default()
}

#[test]
fn the_report_names_senders_reasons_and_remedies_without_the_daemon() {
    if !can_run(&[]) {
        return;
    }
    let site = site("mode = \"shadow\"");
    site.expect(
        "shadow report",
        1,
        &["there is no ", "shadow.db", "the mode is shadow, refusals are kept for 7 days"],
    );
    let daemon = site.serve(&["--no-xdp"]);
    pass(&site, UNNAMED, "a@fabrikam.example");
    pass(&site, SENDER, "b@fabrikam.example");
    pass(&site, SENDER, "good@sender.example");
    // no PTR record, and neither message has a pass of SPF
    wait_until("the refusals are kept", || report(&site)["refusals"] == 3);
    daemon.stop().unwrap();
    let json = report(&site);
    assert_eq!(json["most"]["senders"], 1, "{json}");
    let sender = &json["senders"][0];
    assert_eq!(sender["domain"], "fabrikam.example", "{json}");
    assert_eq!(sender["network"], "2001:db8:51::/64", "{json}");
    assert_eq!(sender["reasons"], serde_json::json!({"no_ptr": 1, "not_authenticated": 2}), "{json}");
    assert_eq!(json["messages"][0]["message_id"], "<1@x>", "{json}");
    site.expect(
        "shadow report --since 1d --top 2",
        0,
        &[
            "enforce would have refused 3 recipients and messages in the last 1 day",
            "the first sender makes 100 %",
            "3 100 %  fabrikam.example from 2001:db8:51::/64 (mail.sender.example): no_ptr 1, not_authenticated 2",
            &format!("its administrator has to publish a PTR record for {UNNAMED}"),
            &format!("its administrator has to add ip6:{SENDER} to the SPF record of fabrikam.example"),
            "if you trust it: sixgate trust add 2001:db8:51::/64",
        ],
    );
    site.expect("shadow report --since 30d", 0, &["refusals are kept for 7 days only: set keep in [shadow]"]);
}

#[test]
fn a_retention_of_zero_keeps_nothing_and_removes_what_was_kept() {
    if !can_run(&[]) {
        return;
    }
    let site = site("mode = \"shadow\"");
    let daemon = site.serve(&["--no-xdp"]);
    pass(&site, UNNAMED, "a@fabrikam.example");
    let file = site.folder().join("shadow.db");
    wait_until("the refusals are kept", || report(&site)["refusals"] == 2);
    let site = site.configured("shadow.keep = \"0s\"");
    site.sixgate("reload");
    wait_until("the file is removed", || !file.exists());
    pass(&site, UNNAMED, "a@fabrikam.example");
    let (_, log) = daemon.stop().unwrap();
    assert!(!file.exists(), "{log}");
}
