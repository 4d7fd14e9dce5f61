//! What holds for some time, answers of DNS, budgets, entries in the kernel: it holds as long as it
//! would have, wherever the time of day jumps meanwhile.

use std::{
    fs::{self, File},
    time::{Duration, Instant, SystemTime},
};

use sixgate_tests::{
    client::Client,
    clock::WallClock,
    gate::{self, Need},
    site::{GATE, INTERFACE, OTHER, SENDER, Site},
    timeouts::{patience, wait_until},
};

use crate::{
    begin_message, greeted, honest_site,
    jumps::{NEEDS, YEAR, jumps},
    site,
};

#[test]
fn what_dns_said_is_neither_asked_again_sooner_nor_kept_longer() {
    if !gate::require(NEEDS) {
        return;
    }
    let clock = WallClock::new().unwrap();
    let site = honest_site("");
    let daemon = site.serve_by(&clock, &["--no-xdp"]);
    deliver(&site);
    let asked = site.dns.queries();
    for (jump, offset, _) in jumps() {
        clock.jump(offset).unwrap();
        deliver(&site);
        assert_eq!(site.dns.queries(), asked, "{jump}: asked again");
        clock.jump(0).unwrap();
        deliver(&site);
        assert_eq!(site.dns.queries(), asked, "{jump}, and back: asked again");
    }
    drop(daemon);

    // learnt in the future for a second, and for a minute, which is the least that is kept of
    // reverse DNS
    let zone = format!(
        "{SENDER} 1 PTR mail.sender.example\nmail.sender.example 1 AAAA {SENDER}\n\
         sender.example 1 TXT \"v=spf1 ip6:{SENDER} -all\""
    );
    let site = self::site(&zone, "");
    clock.jump(10 * YEAR).unwrap();
    let _daemon = site.serve_by(&clock, &["--no-xdp"]);
    deliver(&site);
    clock.jump(-10 * YEAR).unwrap();
    let asked_again = |name: &str, kind: &str, time: Duration| {
        let until = Instant::now() + time;
        while site.dns.queries_for(name, kind) < 2 {
            assert!(Instant::now() < until, "{name} {kind} is kept for ever");
            deliver(&site);
        }
    };
    asked_again("sender.example", "TXT", patience());
    if gate::long() {
        asked_again(SENDER, "PTR", 3 * patience());
    }
}

/// Delivers a message in a session of its own.
fn deliver(site: &Site) {
    let mut client = greeted(site, SENDER);
    begin_message(&mut client);
    let reply = client.message("Subject: a\n\nb\n").unwrap();
    assert!(reply.last().starts_with("250 2.0.0 "), "{reply:?}");
}

#[test]
fn a_budget_of_questions_is_neither_refilled_nor_blocked() {
    if !gate::require(NEEDS) {
        return;
    }
    let clock = WallClock::new().unwrap();
    // a question each second
    let site = site("", "limits.dns_questions_per_minute = 60");
    let daemon = site.serve_by(&clock, &["--no-xdp"]);
    let mut next = 0x1000;
    let mut rcpt = || {
        next += 1;
        let mut client = greeted(&site, &format!("2001:db8:51::{next:x}"));
        assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
        client.say("RCPT TO:<user@contoso.com>").unwrap().last().to_owned()
    };
    let failure = "451 4.4.3 Temporary DNS failure, please try again later.";
    let mut rcpt_until = |over: bool, claim: &str| {
        let until = Instant::now() + patience();
        while (rcpt() == failure) != over {
            assert!(Instant::now() < until, "{claim}");
        }
    };
    rcpt_until(true, "the budget has no end");
    for (jump, offset, _) in jumps() {
        let (asked, begun) = (site.dns.queries(), Instant::now());
        clock.jump(offset).unwrap();
        rcpt_until(true, jump);
        // what came back since, and what had come back in part
        let paid = site.dns.queries() - asked;
        let filled = begun.elapsed().as_secs() + 2;
        assert!(u64::try_from(paid).unwrap() <= filled, "{jump}: {paid} questions");
        rcpt_until(false, &format!("{jump}: nothing is asked for this network any more"));
        clock.jump(0).unwrap();
        rcpt_until(true, &format!("{jump}, and back"));
    }
    assert!(daemon.stop().unwrap().0.success());
}

#[test]
fn the_kernels_sessions_and_entries_go_on() {
    if !gate::require(&[NEEDS, &[Need::Bpffs, Need::Xdp]].concat()) {
        return;
    }
    let clock = WallClock::new().unwrap();
    let settings = format!("answer = \"kernel\"\nxdp.interfaces = [\"{INTERFACE}\"]");
    let site = honest_site(&settings);
    let daemon = site.serve_by(&clock, &[]);
    for (number, (jump, offset, _)) in jumps().into_iter().enumerate() {
        // learnt at the right time, and at another one
        let nameless = [0, offset].map(|at| {
            clock.jump(at).unwrap();
            let source = format!("2001:db8:51::{}:{}", number + 1, u8::from(at != 0));
            assert!(heard(&site, &source).starts_with("450 4.7.25 "), "{jump}");
            source
        });
        let mut refused = site.connect(SENDER, OTHER);
        assert_eq!(refused.reply().unwrap().code, 220);
        for (at, line, wanted) in [
            (0, "EHLO mail.sender.example", "250 "),
            (offset, "MAIL FROM:<a@sender.example>", "250 "),
            (0, "RCPT TO:<user@contoso.com>", "550 5.2.1 "),
            (offset, "RSET", "250 "),
        ] {
            clock.jump(at).unwrap();
            assert!(refused.say(line).unwrap().last().starts_with(wanted), "{jump}: {line}");
        }
        let flows: serde_json::Value =
            serde_json::from_str(&site.sixgate_by(&clock, "flows --json")).unwrap();
        let age = flows["flows"][0]["age_seconds"].as_u64().unwrap();
        assert!(age < patience().as_secs(), "{jump}: {flows}");
        quit(&mut refused);
        // the daemon told the kernel, and for the right time
        let begun = site.counter("also_begun_no_ptr");
        for source in &nameless {
            let entry = site.sixgate_by(&clock, &format!("ptr get {source} --json"));
            let entry: serde_json::Value = serde_json::from_str(&entry).unwrap();
            let remaining = entry["remaining_seconds"].as_u64().unwrap();
            assert!((1..=900).contains(&remaining), "{jump}: {entry}");
            assert!(heard(&site, source).starts_with("450 4.7.25 "), "{jump}");
        }
        assert_eq!(site.counter("also_begun_no_ptr"), begun + 2, "{jump}: the kernel refuses them by itself");
        // and each client that may send does
        assert_eq!(heard(&site, SENDER), "250 2.1.5 Recipient ok", "{jump}");
    }
    // set by a command in the future, for a moment: over in a moment
    clock.jump(10 * YEAR).unwrap();
    site.sixgate_by(&clock, "ptr set 2001:db8:51::f exists --for 1s");
    clock.jump(-10 * YEAR).unwrap();
    wait_until("the entry expires", || !site.run("ptr get 2001:db8:51::f").status.success());
    assert!(daemon.stop().unwrap().0.success());
}

/// The reply to RCPT.
fn heard(site: &Site, source: &str) -> String {
    site.rcpt(source, GATE).last().to_owned()
}

fn quit(client: &mut Client) {
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
}

#[test]
fn only_what_a_dead_daemon_left_in_tmp_is_removed_by_the_time_of_day() {
    if !gate::require(NEEDS) {
        return;
    }
    let clock = WallClock::new().unwrap();
    let site = honest_site("");
    let maildir = site.folder().join("Maildir");
    fs::create_dir_all(maildir.join("tmp")).unwrap();
    fs::create_dir_all(maildir.join("new")).unwrap();
    let left = maildir.join("tmp/left");
    for (offset, stays) in [(0, true), (-10 * YEAR, true), (35 * 60 * 60, true), (37 * 60 * 60, false)] {
        for path in [&left, &maildir.join("new/mail")] {
            File::create(path).unwrap().set_modified(SystemTime::now()).unwrap();
        }
        clock.jump(offset).unwrap();
        assert!(site.serve_by(&clock, &["--no-xdp"]).stop().unwrap().0.success());
        assert_eq!(left.exists(), stays, "{offset} s");
        assert!(maildir.join("new/mail").exists(), "{offset} s");
    }
}
