//! The store and the maps change under live traffic: a change holds from the next SYN on, and an established
//! connection is never taken over.

use std::fs;

use sixgate_tests::{
    client::Client,
    site::{GATE, OTHER, SENDER},
};

use crate::{ORDINARY, can_run, site};

#[test]
fn an_opt_in_holds_from_the_next_syn_on() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    // one after the other, and nothing in between that could give the daemon time
    for round in 1..=5 {
        assert_eq!(rcpt(&mut site.connect(SENDER, OTHER)), 550, "round {round}, before");
        site.sixgate(&format!("optin add {OTHER}"));
        assert_eq!(rcpt(&mut site.connect(SENDER, OTHER)), 250, "round {round}, added");
        site.sixgate(&format!("optin remove {OTHER}"));
    }
    assert_eq!(site.counter("tag_not_opted_in"), 5);
    assert_eq!(site.counter("pass_opted_in"), 5);
}

#[test]
fn a_session_that_was_accepted_survives_the_removal_of_its_destination() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    let mut client = site.connect(SENDER, GATE);
    assert_eq!(client.reply().unwrap().code, 220);
    assert_eq!(client.say("HELO mail.sender.example").unwrap().code, 250);
    site.sixgate(&format!("optin remove {GATE}"));
    // the connection stands: each command has its answer, whatever it is
    assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
    let answer = client.say("RCPT TO:<user@contoso.com>").unwrap().code;
    assert!(matches!(answer, 250 | 550), "{answer}");
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
    assert_eq!(rcpt(&mut site.connect(SENDER, GATE)), 550);
}

#[test]
fn a_session_that_was_refused_stays_whole_when_its_destination_opts_in() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    let mut client = site.connect(SENDER, OTHER);
    assert_eq!(client.reply().unwrap().code, 220);
    site.sixgate(&format!("optin add {OTHER}"));
    assert_eq!(client.say("HELO mail.sender.example").unwrap().code, 250);
    assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
    assert_eq!(client.say("RCPT TO:<user@contoso.com>").unwrap().code, 550);
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
    let sent = site.swaks(SENDER, OTHER, ORDINARY);
    assert_eq!(sent.code, 0, "{}", sent.output);
}

#[test]
fn a_store_that_is_lost_refuses_nobody_who_had_opted_in() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let store = site.folder().join("store.json");
    let aside = site.folder().join("aside.json");
    fs::rename(&store, &aside).unwrap();
    daemon.wait_for_log("is gone, its last content stays in force").unwrap();
    assert_eq!(rcpt(&mut site.connect(SENDER, GATE)), 250);
    assert_eq!((site.counter("pass_opted_in"), site.counter("tag_not_opted_in")), (1, 0));
    fs::rename(&aside, &store).unwrap();
    site.sixgate(&format!("optin remove {GATE}"));
    assert_eq!(rcpt(&mut site.connect(SENDER, GATE)), 550);
}

#[test]
fn what_could_not_be_carried_over_into_the_maps_is_tried_again() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    assert_eq!(rcpt(&mut site.connect(SENDER, OTHER)), 550);
    let store = site.folder().join("store.json");
    let lock = fs::File::open(site.folder().join("store.json.lock")).unwrap();
    lock.lock().unwrap();
    let text = fs::read_to_string(&store).unwrap();
    // put in place by hand, as a backup is
    let restored = text.replace(GATE, OTHER);
    assert_ne!(restored, text);
    fs::write(&store, restored).unwrap();
    daemon.wait_for_log("cannot copy the opt-in store into the BPF maps, retrying").unwrap();
    lock.unlock().unwrap();
    daemon.wait_for_log("the BPF maps follow the opt-in store again").unwrap();
    assert_eq!(rcpt(&mut site.connect(SENDER, OTHER)), 250);
    assert_eq!(rcpt(&mut site.connect(SENDER, GATE)), 550);
    assert_eq!(site.counter("tag_not_opted_in"), 2);
}

#[test]
fn a_second_daemon_that_finds_the_port_in_use_changes_nothing() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    let usual = fs::read(site.config()).unwrap();
    let site = site.configured("mode = \"shadow\"");
    let second = site.run("serve");
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    assert!(String::from_utf8_lossy(&second.stderr).contains("cannot listen on [::]:25"), "{second:?}");
    fs::write(site.config(), usual).unwrap();
    let status = site.sixgate("status");
    assert!(status.starts_with("mode       enforce\n"), "{status}");
    assert_eq!(rcpt(&mut site.connect(SENDER, OTHER)), 550);
    assert_eq!(site.counter("shadow_not_opted_in"), 0);
}

#[test]
fn a_domain_that_is_added_takes_mail_without_a_restart() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    let fabrikam =
        ["--helo", "mail.sender.example", "--from", "a@sender.example", "--to", "user@fabrikam.example"];
    let sent = site.swaks(SENDER, GATE, &fabrikam);
    assert!(sent.output.contains("550 5.2.1 Service unavailable, [fabrikam.example]"), "{}", sent.output);
    site.sixgate("domain add fabrikam.example");
    let sent = site.swaks(SENDER, GATE, &fabrikam);
    assert_eq!(sent.code, 0, "{}", sent.output);
}

/// The code that a sender hears to its RCPT for contoso.com; a temporary refusal for a permanent one is told apart.
fn rcpt(client: &mut Client) -> u16 {
    assert_eq!(client.reply().unwrap().code, 220);
    assert_eq!(client.say("HELO mail.sender.example").unwrap().code, 250);
    assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
    let code = client.say("RCPT TO:<user@contoso.com>").unwrap().code;
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    code
}
