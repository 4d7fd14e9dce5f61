//! Claims about a host that lacks something: the sender hears to come back later, whoever needs less goes on, and all is
//! well again when the lack is over.
//!
//! What DNS and next hops do wrong is in the suites `checks`, `dialogs` and `nexthop`, what happens without descriptors in
//! `netns`. docs/operating.md has the table of all faults.

use std::{fs, path::Path};

use sixgate_tests::{
    client::Client,
    gate::{self, Need},
    mounts::with_small_disk,
    site::{GATE, SENDER, Site},
};

#[test]
fn a_full_disk_for_temporary_files_refuses_large_messages_for_now_and_nothing_else() {
    if !gate::require(NEEDS) {
        return;
    }
    let site = site();
    let temporary = site.folder().join("temporary");
    fs::create_dir(&temporary).unwrap();
    let site = site.configured(&format!("temporary_directory = {temporary:?}"));
    with_small_disk(&temporary, MIB, || {
        let daemon = site.serve(&["--no-xdp"]);
        let mut client = greeted(&site);
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
        daemon.stop().unwrap();
    })
    .unwrap();
    assert_eq!(site.delivered().len(), 4);
}

#[test]
fn a_full_maildir_refuses_for_now_and_keeps_no_half_message() {
    if !gate::require(NEEDS) {
        return;
    }
    let site = site();
    let maildir = site.folder().join("Maildir");
    fs::create_dir(&maildir).unwrap();
    with_small_disk(&maildir, MIB, || {
        let daemon = site.serve(&["--no-xdp"]);
        let mut client = greeted(&site);
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
        daemon.stop().unwrap();
    })
    .unwrap();
}

fn site() -> Site {
    let zone = format!(
        "{SENDER} PTR mail.sender.example\nsender.example TXT \"v=spf1 ip6:{SENDER} -all\"\n\
         mail.sender.example AAAA {SENDER}"
    );
    let site = Site::new(&zone, "log.level = \"warn\"");
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add gate.example");
    site
}

/// A client that has said EHLO.
fn greeted(site: &Site) -> Client {
    let mut client = site.connect(SENDER, GATE);
    assert_eq!(client.reply().unwrap().code, 220);
    assert_eq!(client.say("EHLO mail.sender.example").unwrap().code, 250);
    client
}

/// Sends a message of so many octets; what is said about it.
fn send(client: &mut Client, octets: usize) -> String {
    for (command, code) in
        [("MAIL FROM:<a@sender.example>", 250), ("RCPT TO:<u@gate.example>", 250), ("DATA", 354)]
    {
        assert_eq!(client.say(command).unwrap().code, code, "{command}");
    }
    let line = format!("{}\r\n", "x".repeat(62));
    client.write(b"From: a@sender.example\r\n\r\n").unwrap();
    client.write(line.repeat(octets / line.len()).as_bytes()).unwrap();
    client.say(".").unwrap().last().to_owned()
}

fn empty(folder: &Path) {
    for file in fs::read_dir(folder).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
}

const NEEDS: &[Need] = &[Need::Root, Need::Program("ip"), Need::Bpffs];
const MIB: usize = 1 << 20;
