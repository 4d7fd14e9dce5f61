//! The form `journald`: entries as a socket gets them that stands in for the journal's.
//!
//! Text and JSON are tested by [`super::formats`].

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
};

use sixgate_tests::{
    daemon::{self, Daemon},
    gate::Need,
    site::{GATE, SENDER},
    timeouts::patience,
};

use super::connect;
use crate::{can_run, site};

/// Lays a folder over that of the journal's socket, then becomes the daemon.
const IN_FRONT: &str = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && \
                        mount --bind \"$0\" /run/systemd/journal && shift && exec \"$@\"";

#[test]
fn each_field_of_a_line_is_a_field_of_the_entry() {
    if !can_run(&[Need::Program("unshare")]) {
        return;
    }
    let site = site("log.format = \"journald\"\n");
    let folder = site.folder().join("journal");
    fs::create_dir(&folder).unwrap();
    let journal = UnixDatagram::bind(folder.join("socket")).unwrap();
    journal.set_read_timeout(Some(patience())).unwrap();
    let start = site.folder().join("start");
    let (folder, binary) = (folder.display(), daemon::binary());
    fs::write(
        &start,
        format!(
            "#!/bin/sh\nexec unshare --mount sh -c '{IN_FRONT}' {folder} - {} \"$@\"\n",
            binary.display()
        ),
    )
    .unwrap();
    fs::set_permissions(&start, Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::start_binary(&start, Some(&site.gate), &site.config()).unwrap();
    let mut client = connect(&site);
    client.say("MAIL FROM:<\"a\tb\"@sender.example>").unwrap();
    client.say("QUIT").unwrap();
    let entry = loop {
        let mut buffer = [0; 65_536];
        let length = journal.recv(&mut buffer).unwrap();
        let entry = String::from_utf8(buffer[..length].to_vec()).unwrap();
        let entry: BTreeMap<String, String> = entry
            .lines()
            .map(|line| line.split_once('=').expect("no value has a line end"))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        if entry.get("SIXGATE_EVENT").is_some_and(|event| event == "session closed") {
            break entry;
        }
    };
    for (key, value) in [
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "sixgate"),
        ("SIXGATE_SOURCE", SENDER),
        ("SIXGATE_DESTINATION", GATE),
        ("SIXGATE_ENDING", "quit"),
        ("SIXGATE_HELO", "mail.sender.example"),
        ("SIXGATE_COMMANDS", "3"),
        ("SIXGATE_REASONS", "bad_sender=1"),
    ] {
        assert_eq!(entry.get(key).map(String::as_str), Some(value), "{key} in {entry:?}");
    }
    let message = format!(
        "session{{id={} source={SENDER} destination={GATE}}}: session closed ending=\"quit\" ",
        entry["SIXGATE_ID"]
    );
    assert!(entry["MESSAGE"].starts_with(&message), "{entry:?}");
    daemon.stop().unwrap();
}
