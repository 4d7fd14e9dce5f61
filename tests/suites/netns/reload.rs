//! A changed configuration reaches kernel and daemon together, by `sixgate reload` as by
//! `sixgate attach`.

use std::fs;

use sixgate_tests::site::{GATE, INTERFACE, OTHER, SENDER, Site};

use crate::{can_run, site};

/// The code of the reply to RCPT at a destination that has not opted in.
fn rcpt(site: &Site) -> u16 {
    site.rcpt(SENDER, OTHER).code
}

#[test]
fn mode_changes_in_kernel_and_daemon_by_one_command() {
    if !can_run() {
        return;
    }
    for command in ["reload", "attach"] {
        let (site, daemon) = site("mode = \"enforce\"");
        site.expect("status", 0, &["mode       enforce\n"]);
        assert_eq!(rcpt(&site), 550);
        let site = site.configured("mode = \"shadow\"");
        let told = "mode is \"shadow\" in the configuration, \"enforce\" in the kernel, \"enforce\" in the daemon: run \
                    `sixgate reload`\n";
        site.expect("status", 1, &["mode       enforce\n", told]);
        assert_eq!(rcpt(&site), 550);
        site.expect(command, 0, &["changed: mode\n"]);
        site.expect("status", 0, &["mode       shadow\n"]);
        assert_eq!(rcpt(&site), 250);
        assert!(site.counter("shadow_not_opted_in") > 0);
        drop(daemon);
    }
}

#[test]
fn attach_does_not_take_the_kernel_where_the_daemon_does_not_go() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("mode = \"enforce\"");
    // this daemon answers elsewhere
    let file = site.folder().join("other.toml");
    let text = fs::read_to_string(site.config()).unwrap();
    let text = text.replace("enforce", "shadow").replace("/control\"", "/elsewhere\"");
    fs::write(&file, text).unwrap();
    let output = sixgate_tests::daemon::run(Some(&site.gate), &file, &["attach"]).unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(
        text.contains("nothing was changed: a daemon uses these pins") && text.contains("restart"),
        "{text}"
    );
    site.expect("status", 0, &["mode       enforce\n"]);
    // what the daemon refuses to take over, the kernel does not get
    let site = site.configured("mode = \"shadow\"\ntemporary_directory = \"/nowhere\"");
    site.expect("attach", 2, &["nothing was changed: the daemon does not take over the configuration: "]);
    site.expect("status", 1, &["mode       enforce\n"]);
    assert_eq!(rcpt(&site), 550);
    drop(daemon);
}

#[test]
fn the_replies_of_the_kernel_follow_a_reload() {
    if !can_run() {
        return;
    }
    let site = Site::new(crate::ZONE, "answer = \"kernel\"")
        .configured(&format!("xdp = {{ interfaces = [\"{INTERFACE}\"], mode = \"generic\" }}"));
    site.sixgate(&format!("optin add {GATE}"));
    let _daemon = site.serve(&[]);
    let greeting = |site: &Site| site.connect(SENDER, OTHER).reply().unwrap().last().to_owned();
    assert!(greeting(&site).starts_with("220 gate.example "));
    let site = site.configured("hostname = \"other.example\"\nrefuse_at = \"greeting\"");
    let kernel = "\"greeting\" in the configuration, \"rcpt\" in the kernel, \"rcpt\" in the daemon";
    site.expect("status", 1, &[kernel, "the configuration has changed since the daemon read it (hostname)"]);
    site.expect("reload", 0, &["changed: hostname, refuse_at\n"]);
    assert!(greeting(&site).starts_with("554 other.example "));
    assert_eq!(site.counter("also_begun_not_opted_in"), 2, "the kernel answered both");
}

#[test]
fn sizes_of_maps_need_a_detach_and_a_restart() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let site = site.configured("xdp.optin_entries = 5000\ndns.timeout = \"4s\"");
    let remade = "not in force until `sixgate detach && systemctl restart sixgate`: xdp.optin_entries";
    site.expect("reload", 0, &[remade, "not in force until `systemctl restart sixgate`: dns.timeout"]);
    site.expect("status", 1, &["(xdp.optin_entries): `sixgate detach && systemctl restart sixgate`"]);
    site.expect("detach", 0, &[]);
    daemon.stop().unwrap();
    let daemon = site.serve(&[]);
    let text = site.ran("status");
    assert!(text.0 == Some(0) && !text.1.contains("optin_entries"), "{text:?}");
    drop(daemon);
}

#[test]
fn an_empty_guard_is_a_fault_once_it_is_in_force() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let site = site.configured("xdp.guard = \"store\"");
    let (code, text) = site.ran("status");
    assert!(code == Some(1) && text.contains("(xdp.guard): `systemctl restart sixgate`"), "{text}");
    assert!(!text.contains("nothing is guarded"), "{text}");
    daemon.stop().unwrap();
    let daemon = site.serve(&[]);
    site.expect("status", 1, &["nothing is guarded: the XDP program refuses no destination"]);
    site.sixgate(&format!("guard add {OTHER}"));
    site.expect("status", 0, &[]);
    assert_eq!(rcpt(&site), 550);
    drop(daemon);
}

#[test]
fn after_a_reload_that_was_refused_status_does_not_advise_the_same_one() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let site = site.configured("hostname = \"mx.contoso.com\"\ntemporary_directory = \"/nowhere\"");
    site.expect("reload", 1, &["cannot make a temporary file in /nowhere"]);
    site.expect("status", 1, &["the last reload was refused: mend what it names, then run `sixgate reload`"]);
    let good = format!("temporary_directory = {:?}", site.folder());
    let site = site.configured(&good);
    site.expect("reload", 0, &[]);
    site.expect("status", 0, &[]);
    drop(daemon);
}

#[test]
fn a_reload_beside_a_damaged_store_warns_of_it() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let store = site.folder().join("store.db");
    let file = fs::File::options().write(true).open(&store).unwrap();
    // in place, as a bad disk does it: the daemon's reader keeps the file
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 3 * 4096], 4096).unwrap();
    site.expect("reload", 0, &["warning: ", " is damaged: "]);
    drop(daemon);
}
