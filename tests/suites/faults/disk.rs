//! Disks that are full: that of temporary files, of the Maildir, of store, log and counters.

use std::{
    fs::{self, OpenOptions},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use nix::fcntl::{FcntlArg, fcntl};
use sixgate_tests::{
    client::Client,
    daemon::Daemon,
    gate::{self, Need},
    mounts::{set_read_only, with_small_disk},
    site::{OTHER, SENDER, Site},
};

use crate::{greeted, honest_site};

#[test]
fn a_full_temporary_disk_refuses_large_messages_only_and_temporarily() {
    if !gate::require(NEEDS) {
        return;
    }
    let (site, temporary) = with_temporary_folder();
    with_small_disk(&temporary, MIB, || {
        let daemon = site.serve(&["--no-xdp"]);
        let mut client = greeted(&site, SENDER);
        // twice: what the first one had is given back
        for _ in 0..2 {
            assert_eq!(
                send(&mut client, 3 * MIB),
                "452 4.3.1 Insufficient system storage, please try again later."
            );
            assert!(send(&mut client, 1000).starts_with("250 2.0.0 "));
            assert!(send(&mut client, MIB).starts_with("250 2.0.0 "));
        }
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0);
        drop(client);
        daemon.stop().unwrap();
    })
    .unwrap();
    assert_eq!(site.delivered().len(), 4);
}

#[test]
fn a_temporary_folder_that_is_gone_refuses_large_messages_only() {
    if !gate::require(NEEDS) {
        return;
    }
    let (site, temporary) = with_temporary_folder();
    let daemon = site.serve(&["--no-xdp"]);
    let mut client = greeted(&site, SENDER);
    fs::remove_dir(&temporary).unwrap();
    let reply = send(&mut client, MIB);
    assert_eq!(reply, "451 4.3.0 The message could not be stored, please try again later.");
    assert!(send(&mut client, 1000).starts_with("250 2.0.0 "));
    fs::create_dir(&temporary).unwrap();
    assert!(send(&mut client, MIB).starts_with("250 2.0.0 "));
    drop(client);
    daemon.stop().unwrap();
    assert_eq!(site.delivered().len(), 2);
}

/// An honest site whose temporary files have a folder of their own.
fn with_temporary_folder() -> (Site, PathBuf) {
    let site = honest_site("");
    let temporary = site.folder().join("temporary");
    fs::create_dir(&temporary).unwrap();
    (site.configured(&format!("temporary_directory = {temporary:?}")), temporary)
}

#[test]
fn a_full_maildir_refuses_for_now_and_keeps_no_half_message() {
    if !gate::require(NEEDS) {
        return;
    }
    let site = honest_site("");
    let maildir = site.folder().join("Maildir");
    fs::create_dir(&maildir).unwrap();
    with_small_disk(&maildir, MIB, || {
        let daemon = site.serve(&["--no-xdp"]);
        let mut client = greeted(&site, SENDER);
        let files = |folder: &str| fs::read_dir(maildir.join(folder)).unwrap().count();
        assert!(send(&mut client, MIB / 2).starts_with("250 2.0.0 "));
        for _ in 0..2 {
            let reply = send(&mut client, MIB * 3 / 4);
            assert_eq!(reply, "451 4.3.0 The message could not be stored, please try again later.");
            assert_eq!((files("tmp"), files("new")), (0, 1));
        }
        empty(&maildir.join("new"));
        assert!(send(&mut client, MIB * 3 / 4).starts_with("250 2.0.0 "));
        assert_eq!((files("tmp"), files("new")), (0, 1));
        drop(client);
        daemon.stop().unwrap();
    })
    .unwrap();
}

#[test]
fn a_full_disk_for_the_log_costs_lines_of_the_log_and_nothing_else() {
    if !gate::require(NEEDS) {
        return;
    }
    let site = honest_site("log.level = \"debug\"");
    let folder = site.folder().join("log");
    fs::create_dir(&folder).unwrap();
    with_small_disk(&folder, MIB, || {
        let (path, filler) = (folder.join("log"), folder.join("filler"));
        fill(&filler);
        let log = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        // the disk is full from its first line on
        let daemon = Daemon::start_logging_to(log, Some(&site.gate), &site.config(), &["--no-xdp"]).unwrap();
        let mut client = greeted(&site, SENDER);
        assert!(send(&mut client, 1000).starts_with("250 2.0.0 "));
        let refused = site.connect(SENDER, OTHER).reply().unwrap();
        assert_eq!(refused.code, 220);
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        // there is space again, and the log goes on
        fs::remove_file(&filler).unwrap();
        assert!(send(&mut client, 1000).starts_with("250 2.0.0 "));
        drop(client);
        assert!(daemon.stop().unwrap().0.success());
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(" message outcome=\"delivered\""), "{text}");
    })
    .unwrap();
    assert_eq!(site.delivered().len(), 2);
}

#[test]
fn a_log_that_nothing_reads_stops_nothing() {
    if !gate::require(NEEDS) {
        return;
    }
    for is_there in [true, false] {
        let site = honest_site("log.level = \"debug\"");
        // one that stands still, or one that is gone
        let (reader, writer) = std::io::pipe().unwrap();
        let reader = is_there.then_some(reader);
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let log = OwnedFd::from(writer).into();
        let daemon = Daemon::start_logging_to(log, Some(&site.gate), &site.config(), &["--no-xdp"]).unwrap();
        let mut client = greeted(&site, SENDER);
        // more than the pipe holds
        for _ in 0..50 {
            assert!(send(&mut client, 1000).starts_with("250 2.0.0 "), "reader: {is_there}");
        }
        drop(client);
        assert!(daemon.stop().unwrap().0.success());
        drop(reader);
        assert_eq!(site.delivered().len(), 50);
    }
}

#[test]
fn a_full_disk_fails_the_command_by_name_and_leaves_store_and_counters() {
    if !gate::require(NEEDS) {
        return;
    }
    let site = honest_site("");
    let folder = site.folder().join("state");
    fs::create_dir(&folder).unwrap();
    let (store, metrics) = (folder.join("store.db"), folder.join("sixgate.prom"));
    let before = site.folder().join("store.db");
    let site = site.configured(&format!("store = {store:?}\nmetrics.file = {metrics:?}"));
    with_small_disk(&folder, MIB, || {
        fs::copy(&before, &store).unwrap();
        site.sixgate("domain add first.example");
        let daemon = site.serve(&["--no-xdp"]);
        daemon.wait_for_log("the opt-in store was backed up").unwrap();
        fill(&folder.join("filler"));
        let stored = site.sixgate("store export");
        let mut client = greeted(&site, SENDER);
        let failed = site.run("domain add second.example");
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(!failed.status.success() && said.contains("database or disk is full"), "{said}");
        assert_eq!(site.sixgate("store export"), stored);
        assert!(send(&mut client, 1000).starts_with("250 2.0.0 "));
        assert!(rcpt(&mut client, "u@second.example").starts_with("550 5.2.1 "), "it was not added");
        fs::remove_file(folder.join("filler")).unwrap();
        site.sixgate("domain add second.example");
        assert!(rcpt(&mut client, "u@second.example").starts_with("250 "), "it is added now");
        drop(client);
        assert!(daemon.stop().unwrap().0.success());
        let counted = fs::read_to_string(&metrics).unwrap();
        assert!(counted.contains("sixgate_messages_total{outcome=\"delivered\"} 1\n"), "{counted}");
        let mut names: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["sixgate.prom", "store.db", "store.db.old"], "nothing is left behind");
    })
    .unwrap();
}

#[test]
fn a_store_on_a_read_only_or_full_file_system_is_served_and_read() {
    if !gate::require(NEEDS) {
        return;
    }
    for is_full in [false, true] {
        let site = honest_site("");
        let folder = site.folder().join("state");
        fs::create_dir(&folder).unwrap();
        let (store, before) = (folder.join("store.db"), site.folder().join("store.db"));
        let site = site.configured(&format!("store = {store:?}"));
        let reason = if is_full { "no space is left on the file system of " } else { "the file system of " };
        with_small_disk(&folder, MIB, || {
            fs::copy(&before, &store).unwrap();
            site.sixgate("domain add first.example");
            let stored = site.sixgate("store export");
            if is_full {
                fill(&folder.join("filler"));
            } else {
                set_read_only(&folder, true).unwrap();
            }
            let daemon = site.serve(&["--no-xdp"]);
            let warning = daemon.wait_for_log("can be read, but not changed").unwrap();
            assert!(warning.contains("WARN") && warning.contains(reason), "{warning}");
            let mut client = greeted(&site, SENDER);
            assert!(send(&mut client, 1000).starts_with("250 2.0.0 "));
            assert_eq!(site.sixgate("store export"), stored);
            let failed = site.run("domain add second.example");
            let said = String::from_utf8_lossy(&failed.stderr).into_owned();
            assert!(!failed.status.success() && said.contains(reason), "{said}");
            assert!(said.contains("nothing was changed"), "{said}");
            let status = site.run("status");
            let said = String::from_utf8_lossy(&status.stderr).into_owned();
            assert!(status.status.code() == Some(1) && said.contains(reason), "{said}");
            assert!(rcpt(&mut client, "u@second.example").starts_with("550 5.2.1 "));
            // once it can be written, all goes on without a restart
            if is_full {
                fs::remove_file(folder.join("filler")).unwrap();
            } else {
                set_read_only(&folder, false).unwrap();
            }
            site.sixgate("domain add second.example");
            daemon.wait_for_log("by=\"root").unwrap();
            assert!(rcpt(&mut client, "u@second.example").starts_with("250 "));
            drop(client);
            assert!(daemon.stop().unwrap().0.success());
        })
        .unwrap();
    }
}

#[test]
fn the_log_of_a_killed_daemons_store_is_read_on_a_read_only_file_system() {
    if !gate::require(NEEDS) {
        return;
    }
    let site = honest_site("");
    let folder = site.folder().join("state");
    fs::create_dir(&folder).unwrap();
    let (store, before) = (folder.join("store.db"), site.folder().join("store.db"));
    let site = site.configured(&format!("store = {store:?}"));
    with_small_disk(&folder, MIB, || {
        fs::copy(&before, &store).unwrap();
        let daemon = site.serve(&["--no-xdp"]);
        site.sixgate("domain add first.example");
        daemon.kill().unwrap();
        assert!(fs::metadata(folder.join("store.db-wal")).unwrap().len() > 0);
        // without the memory that is shared, nothing tells what of the log counts
        let shared = fs::read(folder.join("store.db-shm")).unwrap();
        fs::remove_file(folder.join("store.db-shm")).unwrap();
        set_read_only(&folder, true).unwrap();
        for (command, code) in [("status", 1), ("optin list", 2), ("serve --no-xdp", 2)] {
            let failed = site.run(command);
            let said = String::from_utf8_lossy(&failed.stderr).into_owned();
            assert_eq!(failed.status.code(), Some(code), "{command}: {said}");
            for words in
                [&format!("its last changes are in {}-wal", store.display()), "remount,rw", "is read-only"]
            {
                assert!(said.contains(words), "{command}: {said}");
            }
        }
        // the other way out that it names
        let copied = site.folder().join("copied.db");
        for end in ["", "-wal"] {
            fs::copy(folder.join(format!("store.db{end}")), format!("{}{end}", copied.display())).unwrap();
        }
        site.write(&format!("store = {copied:?}"));
        assert!(site.sixgate("domain list").contains("first.example"));
        site.write("");
        set_read_only(&folder, false).unwrap();
        fs::write(folder.join("store.db-shm"), shared).unwrap();
        set_read_only(&folder, true).unwrap();
        let daemon = site.serve(&["--no-xdp"]);
        let mut client = greeted(&site, SENDER);
        assert!(rcpt(&mut client, "u@first.example").starts_with("250 "));
        drop(client);
        assert!(daemon.stop().unwrap().0.success());
    })
    .unwrap();
}

/// Fills the disk that `path` is on.
fn fill(path: &Path) {
    let full = fs::write(path, vec![0; 2 * MIB]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
}

/// The reply to another recipient in a new transaction.
fn rcpt(client: &mut Client, recipient: &str) -> String {
    client.say("RSET").unwrap();
    assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
    client.say(&format!("RCPT TO:<{recipient}>")).unwrap().last().to_owned()
}

/// Sends a message of so many octets; the reply to it.
fn send(client: &mut Client, octets: usize) -> String {
    crate::begin_message(client);
    let line = format!("{}\r\n", "x".repeat(62));
    client.write(b"From: a@sender.example\r\n\r\n").unwrap();
    client.write(line.repeat(octets / line.len()).as_bytes()).unwrap();
    client.say(".").unwrap().unnamed().to_owned()
}

fn empty(folder: &Path) {
    for file in fs::read_dir(folder).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
}

const NEEDS: &[Need] = &[Need::Root, Need::Program("ip"), Need::Bpffs];
const MIB: usize = 1 << 20;
