//! Members of the daemon's group, without any capability, run the commands that read: the daemon
//! opens the BPF maps for them. They change nothing, and other users are refused.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use serde_json::Value;
use sixgate_tests::{
    daemon,
    site::{GATE, INTERFACE, OTHER, SENDER, Site},
    timeouts::wait_until,
};

use crate::{
    can_run,
    rights::{USER, attach_configured, serve, serve_with, site_of_user},
};

/// Users of the host; the first is a member of the daemon's group.
const MEMBER: u32 = 47_252;
const OTHER_USER: u32 = 47_253;

/// A site as the package makes one: the daemon is [`USER`], and its group may search the
/// directories.
fn packaged() -> Site {
    let site = site_of_user(&format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    for (path, mode) in [(site.folder().to_owned(), 0o755), (site.pins(), 0o750)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    attach_configured(&site, 0);
    site
}

/// Runs a command as a user without capabilities and with no way to any. The directory of the
/// binary need not be readable for that user.
fn run_as(site: &Site, user: u32, groups: &str, command: &str) -> Output {
    let script = format!(
        "exec 9<{}; exec setpriv --reuid {user} --regid {user} {groups} --no-new-privs --inh-caps -all --ambient-caps \
         -all --bounding-set -all /proc/self/fd/9 --config \"$0\" {command}",
        daemon::binary().display()
    );
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(site.config());
    site.gate.run(|| shell.output()).unwrap()
}

fn as_member(site: &Site, command: &str) -> Output {
    run_as(site, MEMBER, &format!("--groups {USER}"), command)
}

fn as_other_user(site: &Site, command: &str) -> Output {
    run_as(site, OTHER_USER, "--clear-groups", command)
}

/// Exit code, data and messages; of JSON without what only a process that may load the program can
/// find out.
fn shown(output: &Output) -> (Option<i32>, String, String) {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let mut data = text(&output.stdout);
    if let Ok(mut json) = serde_json::from_str::<Value>(&data) {
        if json.get("embedded_tag").is_some() {
            json["embedded_tag"] = Value::Null;
            json["interfaces"][0]["current"] = Value::Null;
        }
        data = json.to_string();
    }
    (output.status.code(), data, text(&output.stderr))
}

#[test]
fn a_member_of_the_group_reads_what_root_reads() {
    if !can_run() {
        return;
    }
    let site = packaged();
    let _daemon = serve(&site);
    wait_until("a good status", || site.ran("status").0 == Some(0));
    for number in 1..=3 {
        site.sixgate(&format!("ptr set 2001:db8:51::1:{number} absent --for 1h"));
    }
    let mut client = site.connect(SENDER, OTHER);
    assert_eq!(client.reply().unwrap().code, 220);
    assert_eq!(client.say("EHLO mail.sender.example").unwrap().code, 250);
    for command in [
        "stats",
        "stats --json",
        "flows",
        "flows --all --json",
        "ptr list",
        "ptr list --json",
        "ptr get 2001:db8:51::1:1",
        "ptr get 2001:db8:51::1:ffff",
        "status",
        "status --json",
        "status --verify",
        "guard list",
        &format!("guard check {OTHER}"),
        "optin list",
        &format!("optin check {GATE}"),
        "domain list",
        "trust list",
        "audit",
        "shadow report",
        &format!("explain --from {SENDER} --to {OTHER}"),
    ] {
        // ages and counters grow between two commands
        let mut both = None;
        for _ in 0..20 {
            let (root, member) = (shown(&site.run(command)), shown(&as_member(&site, command)));
            let are_equal = root == member;
            both = Some((root, member));
            if are_equal {
                break;
            }
        }
        let (root, member) = both.unwrap();
        assert_eq!(member, root, "{command}");
        assert!(root.0 != Some(2), "{command}: {root:?}");
    }
    let flows = shown(&as_member(&site, "flows"));
    assert!(flows.1.contains(&format!("{OTHER} not_opted_in greeted 1")), "{flows:?}");
    let top = shown(&as_member(&site, "top --once"));
    assert!(top.0 == Some(0) && top.1.contains("refusals by the kernel"), "{top:?}");
}

#[test]
fn a_member_of_the_group_changes_nothing() {
    if !can_run() {
        return;
    }
    let site = packaged();
    let _daemon = serve(&site);
    wait_until("a good status", || site.ran("status").0 == Some(0));
    let before = site.sixgate("optin list");
    for (command, reason) in [
        ("ptr set 2001:db8:51::7 absent", "only root and the daemon's user may change the BPF maps"),
        ("ptr remove 2001:db8:51::7", "only root and the daemon's user may change the BPF maps"),
        ("ptr flush", "only root and the daemon's user may change the BPF maps"),
        (&format!("optin add {OTHER}"), "this user may only read"),
        ("detach", "not permitted; it needs root"),
        ("reload", "only root and the daemon's user may"),
        (&format!("trace --source {SENDER}"), "only root and the daemon's user may"),
    ] {
        let (code, data, messages) = shown(&as_member(&site, command));
        assert!(matches!(code, Some(1 | 2)) && data.is_empty(), "{command}: {messages}");
        assert!(messages.contains(reason), "{command}: {messages}");
    }
    assert_eq!(site.sixgate("optin list"), before);
    site.expect("status", 0, &["ready      yes\n"]);
    assert_eq!(site.sixgate("ptr list"), "");
}

#[test]
fn other_users_are_refused_and_a_member_needs_the_daemon() {
    if !can_run() {
        return;
    }
    let site = packaged();
    let daemon = serve(&site);
    wait_until("a good status", || site.ran("status").0 == Some(0));
    let reading = ["stats", "flows", "ptr list", "ptr get ::1"];
    for command in reading {
        let (code, data, messages) = shown(&as_other_user(&site, command));
        assert!(code == Some(2) && data.is_empty(), "{command}: {messages}");
        assert!(messages.contains("run the command as root, or as a member of the"), "{command}: {messages}");
    }
    let (status, _) = daemon.stop().unwrap();
    assert!(status.success());
    for command in reading {
        let (code, data, messages) = shown(&as_member(&site, command));
        assert!(code == Some(2) && data.is_empty(), "{command}: {messages}");
        let remedy = "run the command as root, or start the daemon (`systemctl start sixgate`)";
        assert!(messages.contains(remedy), "{command}: {messages}");
    }
    let (code, data, messages) = shown(&as_member(&site, "status"));
    assert!(code == Some(1) && data.contains("ready      unknown"), "{data}{messages}");
}

#[test]
fn a_trace_needs_a_daemon_that_may_load_a_program() {
    if !can_run() {
        return;
    }
    let site = packaged();
    let daemon = serve(&site);
    wait_until("a good status", || site.ran("status").0 == Some(0));
    let trace = format!("trace --source {SENDER} --duration 1s");
    site.expect(&trace, 1, &["lacks the rights to load an XDP program", "`systemctl edit sixgate`"]);
    let (status, _) = daemon.stop().unwrap();
    assert!(status.success());
    // the capabilities that the help of the command adds
    let _daemon = serve_with(&site, "bpf,+net_bind_service,+net_admin,+perfmon");
    wait_until("a good status", || site.ran("status").0 == Some(0));
    site.expect(&trace, 0, &[&format!("tracing on {INTERFACE}"), "0 segments shown: the duration is over"]);
    wait_until("a good status", || site.ran("status").0 == Some(0));
}
