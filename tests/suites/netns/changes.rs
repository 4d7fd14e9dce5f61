//! The store and the maps change under live traffic: a change holds from the next SYN on, and an
//! established connection is never taken over.

use std::{
    fs, thread,
    time::{Duration, SystemTime},
};

use nix::sys::signal::Signal;
use sixgate_tests::{
    daemon,
    site::{GATE, OTHER, SENDER, Site},
    timeouts::wait_until,
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
        assert_eq!(site.rcpt(SENDER, OTHER).code, 550, "round {round}, before");
        site.sixgate(&format!("optin add {OTHER}"));
        assert_eq!(site.rcpt(SENDER, OTHER).code, 250, "round {round}, added");
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
    site.sixgate(&format!("optin remove --allow-empty {GATE}"));
    // the connection stands: each command gets a reply, of any code
    assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
    let answer = client.say("RCPT TO:<user@contoso.com>").unwrap().code;
    assert!(matches!(answer, 250 | 550), "{answer}");
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
    assert_eq!(site.rcpt(SENDER, GATE).code, 550);
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
fn a_store_that_is_lost_refuses_no_destination_that_had_opted_in() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let store = site.folder().join("store.db");
    let aside = site.folder().join("aside.db");
    fs::rename(&store, &aside).unwrap();
    daemon.wait_for_log("cannot be read, its last content stays in force: no opt-in store at ").unwrap();
    assert_eq!(site.rcpt(SENDER, GATE).code, 250);
    assert_eq!((site.counter("pass_opted_in"), site.counter("tag_not_opted_in")), (1, 0));
    let status = site.run("status");
    assert_eq!(status.status.code(), Some(1), "{status:?}");
    assert!(String::from_utf8_lossy(&status.stderr).contains("no opt-in store at "), "{status:?}");
    for command in ["domain add x.example", "optin list", "attach"] {
        let failed = site.run(command);
        assert_eq!(failed.status.code(), Some(2), "{command}: {failed:?}");
    }
    // the maps hold the content of the lost store
    let refused = site.run("init");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("`sixgate init --force`"), "{refused:?}");
    assert_eq!(site.rcpt(SENDER, GATE).code, 250);
    fs::rename(&aside, &store).unwrap();
    daemon.wait_for_log("the opt-in store can be read again").unwrap();
    site.sixgate(&format!("optin remove --allow-empty {GATE}"));
    assert_eq!(site.rcpt(SENDER, GATE).code, 550);
    let line = daemon.wait_for_log("command=\"optin remove").unwrap();
    assert!(line.contains("the opt-in store has changed"), "{line}");
    assert!(line.contains("by=\"root") && line.contains("removed=1"), "{line}");
}

#[test]
fn a_damaged_store_is_put_back_from_its_backup_at_the_start() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    // the backup is made at each start
    daemon.wait_for_log("the opt-in store was backed up").unwrap();
    site.sixgate("domain add lost.example");
    site.sixgate("domain add lost.too.example");
    daemon.stop().unwrap();
    let store = site.folder().join("store.db");
    for (damage, kept, lost) in [
        ("no database", "store.db.damaged", ": 2 revisions are lost"),
        ("none again", "store.db.damaged.2", "nothing is lost"),
    ] {
        fs::write(&store, damage).unwrap();
        let daemon = site.serve(&[]);
        let line = daemon.wait_for_log("the opt-in store was damaged").unwrap();
        assert!(line.contains(&format!("{kept},")) && line.contains("store.db.old"), "{line}");
        assert!(line.contains("backup of 20") && line.contains(lost), "{line}");
        assert_eq!(site.rcpt(SENDER, GATE).code, 250);
        wait_until("the maps follow the store", || site.run("status").status.success());
        daemon.stop().unwrap();
    }
    // neither replaces the other
    let kept = |name: &str| fs::read_to_string(site.folder().join(name)).unwrap();
    assert_eq!(kept("store.db.damaged"), "no database");
    assert_eq!(kept("store.db.damaged.2"), "none again");
}

#[test]
fn the_store_is_backed_up_again_while_the_daemon_runs() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    daemon.wait_for_log("the opt-in store was backed up").unwrap();
    site.sixgate("domain add later.example");
    // as if the last one had been made two hours ago
    let backup = fs::File::options().write(true).open(site.folder().join("store.db.old")).unwrap();
    backup.set_modified(SystemTime::now() - Duration::from_secs(7200)).unwrap();
    daemon.wait_for_lines("the opt-in store was backed up", 2).unwrap();
    daemon.stop().unwrap();
    fs::write(site.folder().join("store.db"), "no database").unwrap();
    let said = site.sixgate("store restore");
    assert!(said.contains("put back, revision ") && said.contains(", backup of 20"), "{said}");
    assert!(site.sixgate("domain list").contains("later.example"));
}

#[test]
fn reload_names_a_missing_store_and_logs_its_return_with_its_revision() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    daemon.wait_for_log("the opt-in store was backed up").unwrap();
    let (store, away) = (site.folder().join("store.db"), site.folder().join("away.db"));
    site.sixgate("domain add before.example");
    daemon.wait_for_log("domain add before.example").unwrap();
    fs::rename(&store, &away).unwrap();
    let reloaded = site.run("reload");
    let said = String::from_utf8_lossy(&reloaded.stderr).into_owned();
    assert!(reloaded.status.success() && said.contains("the opt-in store cannot be read"), "{said}");
    site.expect("status", 1, &["the opt-in store cannot be read, its last content stays in force"]);
    site.sixgate("store restore");
    daemon.wait_for_log("the opt-in store was read as a whole").unwrap();
    site.sixgate("domain add after.example");
    let line = daemon.wait_for_log("domain add after.example").unwrap();
    assert!(line.contains("revision="), "{line}");
    let log = daemon.log();
    let bare: Vec<_> = log
        .lines()
        .filter(|line| line.contains("the opt-in store has changed") && !line.contains("by="))
        .collect();
    assert!(bare.is_empty(), "{bare:?}");
    daemon.stop().unwrap();
}

#[test]
fn what_could_not_be_carried_over_into_the_maps_is_tried_again() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    assert_eq!(site.rcpt(SENDER, OTHER).code, 550);
    // another process changes the maps
    let lock = fs::File::open(site.pins().join("changing")).unwrap();
    lock.lock().unwrap();
    // what a command leaves that dies before it comes to the maps
    for words in [format!("optin add {OTHER}"), format!("optin remove {GATE}")] {
        changed_without_maps(&site, &words);
    }
    assert_eq!(site.run("status").status.code(), Some(1));
    // the daemon knows all the same
    assert_eq!(site.rcpt(SENDER, OTHER).code, 250);
    lock.unlock().unwrap();
    wait_until("the maps follow the store", || site.run("status").status.success());
    assert_eq!(site.rcpt(SENDER, OTHER).code, 250);
    assert_eq!(site.rcpt(SENDER, GATE).code, 550);
    assert_eq!(site.run("status --verify").status.code(), Some(0));
}

#[test]
fn a_load_of_many_holds_up_neither_sessions_nor_commands() {
    /// More than a revision keeps the changes of, so that daemon and maps take the whole over.
    const MANY: u32 = 120_000;
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let list: String = (0..MANY).map(|at| format!("3fff:{:x}:{:x}::/64\n", at >> 16, at & 0xffff)).collect();
    for (name, first, allow) in
        [("more", format!("{OTHER}\n"), ""), ("fewer", String::new(), "--allow-shrink")]
    {
        let is_more = name == "more";
        let file = site.folder().join(name);
        let text = format!("{GATE}\n{first}{}", if is_more { list.as_str() } else { "" });
        fs::write(&file, text).unwrap();
        thread::scope(|scope| {
            let load =
                scope.spawn(|| site.sixgate(&format!("optin load --quiet {allow} {}", file.display())));
            let mut at = 0;
            while !load.is_finished() {
                // two in a row
                site.sixgate(&format!("domain add {name}{at}.example"));
                site.sixgate(&format!("domain remove {name}{at}.example"));
                assert_eq!(site.rcpt(SENDER, GATE).code, 250);
                at += 1;
            }
            load.join().unwrap();
        });
        // in force when the command has returned
        assert_eq!(site.rcpt(SENDER, OTHER).code, if is_more { 250 } else { 550 }, "{name}");
        assert_eq!(site.rcpt(SENDER, GATE).code, 250);
        let log = fs::metadata(site.folder().join("store.db-wal")).unwrap().len();
        assert!(log < 6 << 20, "the write-ahead log has {log} octets");
    }
    daemon.wait_for_lines("the opt-in store was read as a whole", 2).unwrap();
    assert_eq!(site.run("status --verify").status.code(), Some(0));
}

/// Runs a command on the site's store where no program is attached.
fn changed_without_maps(site: &Site, command: &str) {
    let config = site.folder().join("aside.toml");
    let text = format!(
        "hostname = \"gate.example\"\nstore = {:?}\n[xdp]\nbpffs = {:?}\n",
        site.folder().join("store.db"),
        site.folder().join("none")
    );
    fs::write(&config, text).unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    let output = daemon::run(None, &config, &words).unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn changes_that_come_at_once_are_logged_or_counted() {
    const CHANGES: usize = 50;
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    daemon.signal(Signal::SIGSTOP).unwrap();
    for at in 1..=CHANGES {
        changed_without_maps(&site, &format!("optin add 2001:db8:7::{at:x}"));
    }
    daemon.signal(Signal::SIGCONT).unwrap();
    let line = daemon.wait_for_log("log rate limit: ").unwrap();
    let told = daemon.log().matches("command=\"optin add 2001:db8:7::").count();
    let wanted = format!("log rate limit: {} lines suppressed", CHANGES - told);
    assert!(told > 0 && line.contains(&wanted), "{told} told: {line}");
    daemon.stop().unwrap();
}

#[test]
fn a_second_daemon_that_finds_the_port_in_use_changes_nothing() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let usual = fs::read(site.config()).unwrap();
    let site = site.configured("mode = \"shadow\"");
    let second = site.run("serve");
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    let said = format!("cannot listen on [::]:25: a sixgate runs already, pid {}", daemon.pid());
    assert!(String::from_utf8_lossy(&second.stderr).contains(&said), "{second:?}");
    fs::write(site.config(), usual).unwrap();
    let status = site.sixgate("status");
    assert!(status.starts_with("mode       enforce\n"), "{status}");
    assert_eq!(site.rcpt(SENDER, OTHER).code, 550);
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
