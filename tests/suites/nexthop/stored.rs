//! Claims about messages that are partly on the disk: they arrive octet for octet or not at all.

use std::{
    fs::{self, File},
    future::pending,
    os::fd::RawFd,
    path::Path,
};

use sixgate::message_store::{HEAD_MAX, MessageBuffer, Outgoing, SpillDirectory, StoredMessage};
use tempfile::TempDir;

use crate::{HEADERS, SMTP, Session, WAYS, behind, peer::Peer};

const RCPT: &str = "RCPT TO:<b@d.example>";

/// A message with its temporary file below `folder`.
async fn stored(folder: &Path, octets: &[u8]) -> StoredMessage {
    let mut buffer = MessageBuffer::new(SpillDirectory::new(folder.to_owned()));
    buffer.append(octets.to_vec()).await.expect("room on the disk");
    buffer.freeze()
}

/// The descriptors of this process that lead to files without a name below `folder`.
fn nameless_files(folder: &Path) -> Vec<RawFd> {
    let descriptors = fs::read_dir("/proc/self/fd").expect("/proc");
    let nameless = descriptors.filter_map(|entry| {
        let entry = entry.ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        let is_nameless = target.starts_with(folder) && target.to_string_lossy().ends_with("(deleted)");
        is_nameless.then(|| entry.file_name().to_str()?.parse().ok())?
    });
    nameless.collect()
}

#[tokio::test]
async fn lines_and_dots_at_every_border_arrive_as_they_are() {
    let folder = TempDir::new().expect("a folder");
    // 64 octets: borders of memory, of reads and of writes fall between two lines, and within one
    // when shifted
    let line = [b".".as_slice(), &[b'x'; 61], b"\r\n"].concat();
    let body = line.repeat(HEAD_MAX / 16);
    for shift in 0..4 {
        let message = [&[b'x'; 4][..shift], b"\r\n", &body, b".\r\n.\r\n"].concat();
        let wanted = [HEADERS, &message].concat();
        let wire = String::from_utf8(wanted).expect("a text").replace("\r\n.", "\r\n..");
        for way in WAYS {
            // the first connection ends before the message, which is read anew then
            let scripts = ["OPEN\nMAIL\nRCPT\nC: DATA", "OPEN\nMAIL\nRCPT\nDATA\nQUIT"];
            let peer = Peer::play("borders", way, &scripts).await;
            let mut session = Session::new(&behind(&peer, way));
            session.say(RCPT).await;
            let message = Outgoing::new(HEADERS, stored(folder.path(), &message).await, &[]);
            let reply = session.transport.deliver(&message, pending()).await;
            assert_eq!(reply.code(), 250, "{way:?}");
            session.transport.close().await;
            assert!(peer.finish().await == [wire.as_bytes()], "{way:?}, shifted by {shift}");
        }
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_read_any_more_never_gets_its_final_dot() {
    for way in WAYS {
        let folder = TempDir::new().expect("a folder");
        let content = stored(folder.path(), &b"x\r\n".repeat(HEAD_MAX)).await;
        let [file] = nameless_files(folder.path())[..] else { panic!("one temporary file") };
        let file = File::options().write(true).open(format!("/proc/self/fd/{file}")).expect("the file");
        file.set_len(100_000).expect("a shorter file");
        let peer = Peer::play("cut", way, &["OPEN\nMAIL\nRCPT\nC: DATA\nS: 354 go\nUNENDED"]).await;
        let mut session = Session::new(&behind(&peer, way));
        session.say(RCPT).await;
        let reply = session.transport.deliver(&Outgoing::new(HEADERS, content, &[]), pending()).await;
        let wanted = "451 4.3.0 The message could not be stored, please try again later.\r\n";
        assert_eq!(reply.to_string(), wanted, "{way:?}");
        session.transport.close().await;
        peer.finish().await;
    }
}

#[tokio::test]
async fn a_message_that_was_handed_over_leaves_no_file_open() {
    let folder = TempDir::new().expect("a folder");
    let peer =
        Peer::play("twice", SMTP, &["OPEN\nMAIL\nRCPT\nDATA\nMAIL\nRCPT\nC: DATA\nS: 354 go\nPART"]).await;
    let mut session = Session::new(&behind(&peer, SMTP));
    for code in [250, 451] {
        session.say(RCPT).await;
        let content = stored(folder.path(), &b"x\r\n".repeat(10 * HEAD_MAX)).await;
        let message = Outgoing::new(HEADERS, content, &[]);
        assert_eq!(session.transport.deliver(&message, pending()).await.code(), code);
        assert_eq!(nameless_files(folder.path()).len(), 1);
        drop(message);
        assert_eq!(nameless_files(folder.path()).len(), 0);
    }
    session.transport.close().await;
    peer.finish().await;
}
