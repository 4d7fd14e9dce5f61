//! `xdp.bpffs` names another directory than the one in which the program that runs was pinned: it
//! is taken over, or named.

use std::{fs, path::PathBuf};

use aya::programs::links::PinnedLink;
use sixgate_dataplane::Pins;
use sixgate_tests::{
    daemon::Daemon,
    site::{GATE, INTERFACE, OTHER, SENDER, Site},
};

use crate::can_run;

/// A site where the kernel answers, with its daemon.
fn site() -> (Site, Daemon) {
    let site = Site::new(crate::ZONE, "answer = \"kernel\"")
        .configured(&format!("xdp = {{ interfaces = [\"{INTERFACE}\"], mode = \"generic\" }}"));
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    let daemon = site.serve(&[]);
    assert_eq!(rcpt(&site), 550);
    (site, daemon)
}

/// The same site with another `xdp.bpffs`, and the one of before.
fn moved(site: Site) -> (Site, PathBuf) {
    let before = site.pins();
    let other = before.with_file_name("other");
    (site.configured(&format!("xdp.bpffs = {other:?}")), before)
}

/// The code of the reply to RCPT at a destination that has not opted in.
fn rcpt(site: &Site) -> u16 {
    let mut client = site.connect(SENDER, OTHER);
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    client.say("MAIL FROM:<a@sender.example>").unwrap();
    client.say("RCPT TO:<user@contoso.com>").unwrap().code
}

/// Exit code, and all that a command printed.
fn run(site: &Site, command: &str) -> (Option<i32>, String) {
    let output = site.run(command);
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn a_start_takes_over_what_the_directory_of_before_has_pinned() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site();
    let (site, before) = moved(site);
    let (code, text) = run(&site, "reload");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("xdp.bpffs") && text.contains("takes the XDP program over from"), "{text}");
    daemon.stop().unwrap();
    // frozen maps: that they are to be replaced is told
    let (code, text) = run(&site, "status");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("pinned in {} instead of xdp.bpffs", before.display())), "{text}");
    assert!(!text.contains("another XDP program"), "{text}");
    let (code, text) = run(&site, &format!("optin add {OTHER}"));
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("warning: the BPF maps did not take it"), "{text}");

    let daemon = site.serve(&[]);
    let line = daemon.wait_for_log("was detached for it").unwrap();
    assert!(line.contains("WARN") && line.contains(&before.display().to_string()), "{line}");
    daemon.wait_for_log("refusals are answered by the kernel").unwrap();
    assert!(!daemon.log().contains("another XDP program"), "{}", daemon.log());
    assert_eq!(run(&site, "status").0, Some(0), "{:?}", run(&site, "status"));
    assert_eq!(rcpt(&site), 250);
    site.sixgate(&format!("optin remove {OTHER}"));
    assert_eq!(rcpt(&site), 550);
    assert!(!Pins::new(&before).directory().exists());
}

#[test]
fn pins_that_a_daemon_uses_are_left_alone_until_it_ends() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site();
    let (site, before) = moved(site);
    daemon.stop().unwrap();
    let lock = Pins::new(&before).lock().unwrap();
    let daemon = site.serve(&[]);
    let line = daemon.wait_for_log("a daemon uses those pins").unwrap();
    assert!(
        line.contains(&before.display().to_string()) && line.contains("goes on refusing there"),
        "{line}"
    );
    assert!(!daemon.log().contains("decides alone"), "{}", daemon.log());
    let (code, text) = run(&site, "detach");
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("a daemon uses those pins"), "{text}");
    drop(lock);
    daemon.wait_for_log("was detached for it").unwrap();
    assert_eq!(rcpt(&site), 550);
}

#[test]
fn a_program_whose_pins_are_not_found_is_named_with_its_remedy() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site();
    let (site, before) = moved(site);
    daemon.stop().unwrap();
    let set = Pins::new(&before).directory();
    let file = fs::read_dir(set.join("links")).unwrap().next().unwrap().unwrap();
    let id = file.file_name().into_string().unwrap().split('-').next().unwrap().to_owned();
    let link = PinnedLink::from_pin(file.path()).unwrap();
    fs::remove_dir_all(&set).unwrap();
    let daemon = site.serve(&[]);
    let line = daemon.wait_for_log("whose pins are not found here").unwrap();
    assert!(line.contains(&format!("`bpftool link detach id {id}`")), "{line}");
    let (code, text) = run(&site, "status");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("`bpftool link detach id {id}`")), "{text}");
    drop(link);
    daemon.wait_for_log(&format!("{INTERFACE}: attached")).unwrap();
}

#[test]
fn detach_takes_it_off_as_well() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site();
    let (site, before) = moved(site);
    daemon.stop().unwrap();
    let (code, text) = run(&site, "detach");
    assert_eq!(code, Some(0), "{text}");
    let told = format!("{INTERFACE}: detached, the program that was pinned in {}", before.display());
    assert!(text.contains(&told), "{text}");
    assert!(!Pins::new(&before).directory().exists());
    assert_eq!(run(&site, "detach"), (Some(1), "sixgate: nothing is attached\n".to_owned()));
}
