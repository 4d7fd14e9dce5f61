//! The output of the commands while the daemon stops, stands still, or has a bpffs that it cannot
//! write.

use std::{fs, path::Path};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sixgate_tests::site::{GATE, INTERFACE, SENDER};

use crate::{can_run, site};

#[test]
fn a_daemon_that_waits_for_its_sessions_says_so() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let mut client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    client.say("MAIL FROM:<a@sender.example>").unwrap();
    client.say("RCPT TO:<user@contoso.com>").unwrap();
    assert_eq!(client.say("DATA").unwrap().code, 354);
    daemon.signal(Signal::SIGTERM).unwrap();
    daemon.wait_for_log("SIGTERM: stopping").unwrap();
    let told = format!("the daemon (pid {}) is stopping, 1 sessions open", daemon.pid());
    let text = site.expect("status", 1, &[&told, "daemon     stopping, running since "]);
    assert!(!text.contains("not running"), "{text}");
    site.expect("reload", 1, &[&told, "the configuration is read at the next start"]);
    client.write(b"Subject: x\r\n\r\nx\r\n").unwrap();
    assert_eq!(client.say(".").unwrap().code, 250);
    daemon.stop_after_signal().unwrap();
    site.expect("status", 1, &["daemon     not running"]);
}

#[test]
fn a_daemon_that_is_suspended_does_not_answer_but_runs() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let pid = daemon.pid();
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGSTOP).unwrap();
    let silent = format!("the daemon (pid {pid}) did not answer within 5 s");
    let text = site.expect("status", 1, &[&silent, &format!("daemon     not answering (pid {pid})")]);
    assert!(!text.contains("not running"), "{text}");
    site.expect("reload", 2, &[&silent, "`systemctl restart sixgate`"]);
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGCONT).unwrap();
    site.expect("status", 0, &["daemon     running since "]);
}

#[test]
fn a_bpffs_that_cannot_be_written_is_named_with_the_command_that_helps() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let pins = site.pins();
    let bpffs = pins.parent().unwrap();
    remount(bpffs, MsFlags::MS_RDONLY);
    let remedy = format!("`mount -o remount,rw {}`", bpffs.display());
    site.expect("status", 1, &[&remedy, "daemon     running since ", "optin      1\n", "domains    1\n"]);
    let site = site.configured("refuse_at = \"greeting\"");
    site.expect("reload", 1, &[&remedy]);
    remount(bpffs, MsFlags::empty());
    site.expect("reload", 0, &["changed: refuse_at"]);
    site.expect("status", 0, &[]);
    drop(daemon);
}

fn remount(bpffs: &Path, flags: MsFlags) {
    mount(None::<&str>, bpffs, None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>).unwrap();
}

#[test]
fn a_bpffs_that_is_mounted_anew_is_no_pin_that_was_removed() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let pins = site.pins();
    let bpffs = pins.parent().unwrap();
    umount2(bpffs, MntFlags::MNT_DETACH).unwrap();
    let exported = site.folder().join("exported.json");
    fs::write(&exported, site.sixgate("store export")).unwrap();
    for command in [
        "optin add 2001:db8:25::77",
        "domain add --temporary example.com",
        "domain remove --temporary example.com",
        &format!("store import --quiet {}", exported.display()),
        "store restore --force",
    ] {
        site.expect(command, 0, &["warning: the BPF maps did not take it", "no bpffs at "]);
    }
    mount(Some("bpf"), bpffs, Some("bpf"), MsFlags::empty(), None::<&str>).unwrap();
    daemon.wait_for_log(&format!("the XDP program of {INTERFACE} went with it")).unwrap();
    daemon.wait_for_lines(&format!("{INTERFACE}: attached"), 2).unwrap();
    let log = daemon.log();
    assert!(!log.contains("the pin of the XDP link"), "{log}");
}
