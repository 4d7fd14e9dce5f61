//! Claims about the Maildir: what lies there, and that it lies there whole or not at all.

use std::{
    collections::HashSet,
    fs,
    future::{pending, poll_fn, ready},
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    pin::pin,
    process::{Command, Stdio},
    task::Poll,
    thread,
    time::{Duration, SystemTime},
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    unistd::setfsuid,
};
use sixgate::nexthop::{Capabilities, NextHop};
use sixgate_tests::gate::{self, Need};
use tempfile::TempDir;
use tokio::runtime;

use crate::{HEADERS, MESSAGE, Session, outgoing, replies};

const RCPT: &str = "RCPT TO:<b@d.example>";
const NOT_STORED: &str = "451 4.3.0 The message could not be stored, please try again later.\r\n";

fn maildir(path: &Path) -> NextHop {
    NextHop::maildir(path, "gate.example", replies())
}

/// A Maildir that was probed, below a folder that goes away.
async fn probed() -> (TempDir, PathBuf, NextHop) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mail");
    let next_hop = maildir(&path);
    next_hop.probe().await.expect("a Maildir");
    (folder, path, next_hop)
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect()
}

fn contents(path: &Path) -> Vec<String> {
    let read = |name: &String| fs::read_to_string(path.join(name)).expect("a text");
    names(path).iter().map(read).collect()
}

#[tokio::test]
async fn a_message_lies_there_with_its_envelope_and_octet_for_octet() {
    let (_folder, path, next_hop) = probed().await;
    let mut session = Session::new(&next_hop);
    for rcpt in [RCPT, "RCPT TO:<\"c d\"@e.example>", "RCPT TO:<Postmaster>"] {
        let reply = session.say(rcpt).await.expect("a reply");
        assert_eq!(reply.to_string(), "250 2.1.5 Recipient ok\r\n");
    }
    let reply = session.deliver(&[b"Subject: x\r\n\r\n.\r\n", b"\0\xff\n\r", b""]).await.to_string();
    let name = names(&path.join("new")).pop().expect("a message");
    assert_eq!(reply, format!("250 2.0.0 Delivered as {name}\r\n"));
    let envelope = "Return-Path: <a@sender.example>\r\nDelivered-To: b@d.example\r\n\
                    Delivered-To: \"c d\"@e.example\r\nDelivered-To: Postmaster\r\n";
    let wanted = [envelope.as_bytes(), HEADERS, b"Subject: x\r\n\r\n.\r\n\0\xff\n\r"].concat();
    let file = path.join("new").join(name);
    assert_eq!(
        fs::read(&file).expect("a message").escape_ascii().to_string(),
        wanted.escape_ascii().to_string()
    );
    let mode = fs::metadata(&file).expect("a message").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(names(&path.join("tmp")).is_empty());
}

#[tokio::test]
async fn each_transaction_leaves_one_file_with_its_own_envelope() {
    let (_folder, path, next_hop) = probed().await;
    let mut session = Session::new(&next_hop);
    session.say(RCPT).await;
    session.say("RSET").await;
    session.say("MAIL FROM:<>").await;
    session.say("RCPT TO:<c@d.example>").await;
    session.say("DATA").await;
    let wanted = "Return-Path: <>\r\nDelivered-To: c@d.example\r\n";
    let lying = contents(&path.join("new"));
    assert!(lying.len() == 1 && lying[0].starts_with(&format!("{wanted}Received")), "{lying:?}");
    session.say(RCPT).await;
    session.say("DATA").await;
    assert_eq!(names(&path.join("new")).len(), 2);
}

#[tokio::test]
async fn without_recipients_nothing_is_delivered() {
    let (_folder, path, next_hop) = probed().await;
    let mut session = Session::new(&next_hop);
    assert_eq!(session.say("DATA").await.expect("a reply").code(), 554);
    assert!(names(&path.join("new")).is_empty());
}

#[tokio::test]
async fn a_sender_that_left_leaves_nothing() {
    let (_folder, path, next_hop) = probed().await;
    let mut session = Session::new(&next_hop);
    session.say(RCPT).await;
    let reply = session.transport.deliver(&outgoing(&[MESSAGE]), ready(())).await;
    assert_eq!(reply.to_string(), NOT_STORED);
    assert!(names(&path.join("tmp")).is_empty() && names(&path.join("new")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_at_the_same_time_do_not_meet() {
    let (_folder, path, next_hop) = probed().await;
    let delivery = |number: usize| {
        let mut session = Session::new(&next_hop);
        async move {
            session.say(RCPT).await;
            let message = format!("X-Number: {number}\r\n\r\n{}\r\n", "x".repeat(100_000));
            session.deliver(&[message.as_bytes()]).await.code()
        }
    };
    let tasks: Vec<_> = (0..50).map(|number| tokio::spawn(delivery(number))).collect();
    for task in tasks {
        assert_eq!(task.await.expect("a delivery"), 250);
    }
    let lying: HashSet<String> = contents(&path.join("new")).into_iter().collect();
    assert_eq!(lying.len(), 50);
}

#[tokio::test]
async fn a_probe_makes_a_maildir_once() {
    let (_folder, path, next_hop) = probed().await;
    let all = Capabilities { eight_bit_mime: true, size: Some(u64::MAX), smtp_utf8: true };
    assert_eq!(next_hop.probe().await.expect("the same Maildir"), all);
    assert_eq!(next_hop.capabilities(), Some(all));
    let mut directories = names(&path);
    directories.sort();
    assert_eq!(directories, ["cur", "new", "tmp"]);
    for directory in directories {
        let mode = fs::metadata(path.join(&directory)).expect("a directory").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{directory}");
        assert!(names(&path.join(directory)).is_empty());
    }
}

#[tokio::test]
async fn a_probe_names_what_stands_in_the_way() {
    for place in ["mail", "mail/tmp", "mail/new", "mail/cur"] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(place);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, "").expect("a file");
        let error = maildir(&folder.path().join("mail")).probe().await.expect_err(place);
        let named = if place == "mail" { path.join("tmp") } else { path };
        assert_eq!(error.to_string(), format!("cannot create the directory {}", named.display()), "{place}");
    }
}

#[tokio::test]
async fn a_probe_removes_what_a_crash_left_long_ago() {
    let (_folder, path, next_hop) = probed().await;
    let hours = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 60 * 60);
    for (name, age) in [("tmp/old", 37), ("tmp/young", 35), ("new/old", 37), ("cur/old", 37)] {
        let file = fs::File::create(path.join(name)).expect("a file");
        file.set_modified(hours(age)).expect("a time");
    }
    fs::create_dir(path.join("tmp/folder")).expect("a folder");
    next_hop.probe().await.expect("a Maildir");
    let mut left = names(&path.join("tmp"));
    left.sort();
    assert_eq!(left, ["folder", "young"]);
    assert_eq!(
        (names(&path.join("new")), names(&path.join("cur"))),
        (vec!["old".into()], vec!["old".into()])
    );
}

/// The clock leaps ahead while a message is being written: every file in `tmp` is old at once.
#[tokio::test]
async fn a_probe_does_not_remove_what_is_being_written() {
    let (_folder, path, next_hop) = probed().await;
    let mut session = Session::new(&next_hop);
    session.say(RCPT).await;
    let large = vec![b'x'; 8 << 20];
    let message = outgoing(&[&large]);
    let mut delivery = pin!(session.transport.deliver(&message, pending()));
    // until its file is there, and not polled from then on
    poll_fn(|context| match delivery.as_mut().poll(context) {
        Poll::Ready(reply) => panic!("{reply} before anything was written"),
        Poll::Pending if names(&path.join("tmp")).is_empty() => Poll::Pending,
        Poll::Pending => Poll::Ready(()),
    })
    .await;
    let written = names(&path.join("tmp"));
    let abandoned = fs::File::create(path.join("tmp/abandoned")).expect("a file");
    let ancient = SystemTime::now() - Duration::from_secs(10 * 365 * 24 * 60 * 60);
    let file = fs::File::open(path.join("tmp").join(&written[0])).expect("the message");
    for file in [file, abandoned] {
        file.set_modified(ancient).expect("a time");
    }
    next_hop.probe().await.expect("a Maildir");
    assert_eq!(names(&path.join("tmp")), written);
    assert_eq!(delivery.await.code(), 250);
    assert!(names(&path.join("tmp")).is_empty());
    assert_eq!(names(&path.join("new")).len(), 1);
}

#[tokio::test]
async fn a_host_name_cannot_lead_out_of_the_maildir() {
    let folder = tempfile::tempdir().expect("a folder");
    let next_hop = NextHop::maildir(folder.path(), "../a/b:2,S", replies());
    next_hop.probe().await.expect("a Maildir");
    let mut session = Session::new(&next_hop);
    session.say(RCPT).await;
    assert_eq!(session.say("DATA").await.expect("a reply").code(), 250);
    let name = names(&folder.path().join("new")).pop().expect("a message");
    assert!(name.ends_with("...\\057a\\057b\\0722,S"), "{name}");
}

#[tokio::test]
async fn what_fails_leaves_nothing_and_is_a_failure_for_the_moment() {
    for broken in ["tmp", "new"] {
        let (_folder, path, next_hop) = probed().await;
        fs::remove_dir(path.join(broken)).expect("an empty directory");
        let mut session = Session::new(&next_hop);
        session.say(RCPT).await;
        assert_eq!(session.say("DATA").await.expect("a reply").to_string(), NOT_STORED, "{broken}");
        for directory in ["tmp", "new", "cur"].into_iter().filter(|directory| *directory != broken) {
            assert!(names(&path.join(directory)).is_empty(), "{broken}: {directory}");
        }
        fs::create_dir(path.join(broken)).expect("a directory");
        session.say(RCPT).await;
        assert_eq!(session.say("DATA").await.expect("a reply").code(), 250, "{broken}");
    }
}

/// Runs `task` on a thread whose file rights or mounts may differ; all threads that it starts
/// inherit them.
fn apart<T: Send>(prepare: impl FnOnce() + Send, task: impl AsyncFnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            prepare();
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(task())
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn without_permission_nothing_is_delivered_and_nothing_is_left() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let nobody = 65534;
    for closed in ["tmp", "new"] {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("rights");
        let path = folder.path().join("mail");
        for directory in ["", "tmp", "new", "cur"] {
            fs::create_dir(path.join(directory)).expect("a directory");
            std::os::unix::fs::chown(path.join(directory), Some(nobody), None).expect("an owner");
        }
        std::os::unix::fs::chown(path.join(closed), Some(0), None).expect("an owner");
        let become_nobody = || {
            setfsuid(nobody.into());
        };
        let (probe, reply) = apart(become_nobody, async || {
            let next_hop = maildir(&path);
            let mut session = Session::new(&next_hop);
            session.say(RCPT).await;
            (next_hop.probe().await, session.say("DATA").await.expect("a reply"))
        });
        assert_eq!(reply.to_string(), NOT_STORED, "{closed}");
        assert_eq!(probe.is_err(), closed == "tmp", "{closed}: {probe:?}");
        assert!(names(&path.join("tmp")).is_empty() && names(&path.join("new")).is_empty(), "{closed}");
    }
}

#[test]
fn on_a_full_disk_nothing_is_delivered_and_nothing_is_left() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let small_disk = || {
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
        mount(none, folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=256k")).expect("a small disk");
    };
    apart(small_disk, async || {
        let path = folder.path().join("mail");
        let next_hop = maildir(&path);
        next_hop.probe().await.expect("a Maildir");
        let mut session = Session::new(&next_hop);
        let large = vec![b'x'; 1_000_000];
        for (message, wanted) in [(large.as_slice(), 451), (MESSAGE, 250), (&large, 451), (MESSAGE, 250)] {
            session.say(RCPT).await;
            assert_eq!(session.deliver(&[message]).await.code(), wanted, "{} octets", message.len());
            assert!(names(&path.join("tmp")).is_empty());
        }
        assert_eq!(names(&path.join("new")).len(), 2);
    });
}

/// The deliveries that `deliver-forever` reported, and the files that are there, after it was
/// killed at its `deaths`-th answer.
fn killed(path: &Path, octets: usize, deaths: usize) -> (HashSet<u64>, Vec<String>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_deliver-forever"))
        .arg(path)
        .arg(octets.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("deliver-forever");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
    let mut said: Vec<String> = lines.by_ref().take(deaths).collect();
    child.kill().expect("a kill");
    said.extend(lines);
    child.wait().expect("a death");
    let number = |line: &String| {
        let (number, reply) = line.split_once(' ').expect("a number");
        assert!(reply.starts_with("250 "), "{line}");
        number.parse().expect("a number")
    };
    (said.iter().map(number).collect(), contents(&path.join("new")))
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_promised() {
    for (octets, deaths) in
        [(0, 1), (0, 7), (0, 50), (10_000, 1), (10_000, 20), (3_000_000, 0), (3_000_000, 2)]
    {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("mail");
        maildir_directories(&path);
        let (promised, lying) = killed(&path, octets, deaths);
        let mut found = HashSet::new();
        for message in &lying {
            assert!(message.ends_with("the end\r\n"), "{octets} octets: a part of a message is in place");
            let (_, rest) = message.split_once("X-Number: ").expect("a number");
            let (number, _) = rest.split_once("\r\n").expect("a number");
            assert!(found.insert(number.parse::<u64>().expect("a number")), "a message lies there twice");
        }
        assert!(promised.is_subset(&found), "{octets} octets: promised {promised:?}, found {found:?}");
        assert!(found.len() <= promised.len() + 1, "only the last one can be there without a promise");
        assert!(names(&path.join("tmp")).len() <= 1);
    }
}

fn maildir_directories(path: &Path) {
    for directory in ["tmp", "new", "cur"] {
        fs::create_dir_all(path.join(directory)).expect("a directory");
    }
}
