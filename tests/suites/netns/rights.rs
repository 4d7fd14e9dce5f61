//! The daemon as the package's unit runs it: a user of its own, which may open the maps and not
//! attach, and another process that attaches at its request.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Command,
};

use sixgate_common::names::LAYOUT;
use sixgate_tests::{
    certs::Authority,
    daemon::{self, Daemon},
    site::{GATE, INTERFACE, OTHER, PEER, SENDER, Site},
    timeouts::wait_until,
};

use crate::{ZONE, can_run};

/// A user and a group that no other test uses.
pub(crate) const USER: u32 = 47_251;
/// What sixgate.service leaves the daemon, and sixgate-attach.service the command.
const DAEMON: &str = "bpf,+net_bind_service";
const ATTACH: &str = "bpf,+perfmon,+net_admin";

/// A site whose files and pins belong to [`USER`].
pub(crate) fn site_of_user(settings: &str) -> Site {
    let site = Site::new(ZONE, "answer = \"kernel\"\nxdp.mode = \"generic\"").configured(settings);
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    fs::create_dir(site.pins()).unwrap();
    for path in [site.pins(), site.folder().to_owned()] {
        chown_all(&path);
    }
    site
}

fn chown_all(path: &Path) {
    chown(path, Some(USER), Some(USER)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| chown_all(&entry.unwrap().path()));
    }
}

/// A program that runs sixgate as [`USER`] with those capabilities and no way to more.
fn sixgate_with(site: &Site, capabilities: &str) -> PathBuf {
    let path = site.folder().join(format!("sixgate-{}", capabilities.len()));
    let script = format!(
        "#!/bin/sh\nexec 9<{}\nexec setpriv --reuid {USER} --regid {USER} --clear-groups --no-new-privs \
         --inh-caps -all,+{capabilities} --ambient-caps -all,+{capabilities} --bounding-set -all,+{capabilities} \
         /proc/self/fd/9 \"$@\"\n",
        daemon::binary().display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn request(site: &Site) -> PathBuf {
    site.folder().join("control.attach-request")
}

/// Does what sixgate-attach.service does, once the request is there.
fn attach_at_request(site: &Site) -> String {
    wait_until("a request to attach", || request(site).exists());
    fs::remove_file(request(site)).unwrap();
    attach_configured(site, 0)
}

pub(crate) fn attach_configured(site: &Site, code: i32) -> String {
    let mut command = Command::new(sixgate_with(site, ATTACH));
    command.arg("--config").arg(site.config()).args(["attach", "--configured"]);
    let output = site.gate.run(|| command.output()).unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

pub(crate) fn serve(site: &Site) -> Daemon {
    serve_with(site, DAEMON)
}

/// The daemon as [`USER`] with those capabilities.
pub(crate) fn serve_with(site: &Site, capabilities: &str) -> Daemon {
    let binary = sixgate_with(site, capabilities);
    let mut daemon = Daemon::start_binary(&binary, Some(&site.gate), &site.config()).unwrap();
    daemon.wait_until_settled().unwrap();
    daemon
}

#[test]
fn a_daemon_that_may_not_attach_asks_for_it_and_serves_meanwhile() {
    if !can_run() {
        return;
    }
    let site = site_of_user(&format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    let daemon = serve(&site);
    daemon.wait_for_log("sixgate-attach.service does it").unwrap();
    daemon.wait_for_log(&format!("{INTERFACE}: sixgate-attach.service is asked to attach")).unwrap();
    assert_eq!((site.rcpt(SENDER, OTHER).code, site.rcpt(SENDER, GATE).code), (550, 250));

    let text = attach_at_request(&site);
    assert!(text.contains(&format!("{INTERFACE}: attached, generic mode")), "{text}");
    daemon.wait_for_log("the XDP program is attached: its maps are in use").unwrap();
    daemon.wait_for_log("refusals are now answered by the kernel").unwrap();
    assert_eq!((site.rcpt(SENDER, OTHER).code, site.rcpt(SENDER, GATE).code), (550, 250));
    assert_eq!(site.counter("also_begun_not_opted_in"), 1, "the kernel answered");
    for file in ["", "program", "SETTINGS", "links"] {
        assert_eq!(fs::metadata(site.pins().join(LAYOUT).join(file)).unwrap().uid(), USER, "{file}");
    }
    site.expect("status", 0, &["ready      yes\n"]);

    // the interface goes, and comes back
    site.gate.ip(&format!("link delete {INTERFACE}")).unwrap();
    daemon.wait_for_log(&format!("{INTERFACE} was deleted")).unwrap();
    site.gate.join(INTERFACE, &site.outside, PEER).unwrap();
    site.restore();
    attach_at_request(&site);
    wait_until("the program on the interface", || site.ran("status").0 == Some(0));
    assert_eq!(site.rcpt(SENDER, OTHER).code, 550);
    assert_eq!(site.counter("also_begun_not_opted_in"), 2, "the kernel answered");
    assert!(!request(&site).exists());
}

#[test]
fn a_key_that_the_daemons_user_may_not_read_is_named_with_the_cure() {
    if !can_run() {
        return;
    }
    let site = site_of_user("");
    Authority::new("tests").issue("gate.example").install(site.folder()).unwrap();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| site.folder().join(name));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let site = site.configured(&format!("tls = {{ certificate = {certificate:?}, key = {key:?} }}"));
    let error = Daemon::start_binary(&sixgate_with(&site, DAEMON), Some(&site.gate), &site.config());
    let error = error.unwrap_err().to_string();
    let key = key.display();
    let wanted = format!(
        "cannot read {key}: user {USER} may not read {key} (mode 0600, root:root): \
         `chgrp {USER} {key} && chmod g+rX {key}`"
    );
    assert!(error.contains(&wanted), "{error}");
    let cured = Command::new("sh").args(["-c", &format!("chgrp {USER} {key} && chmod g+rX {key}")]).status();
    assert!(cured.unwrap().success());
    let daemon = serve(&site);
    assert!(daemon.log().contains("sandbox: files by Landlock, system calls by seccomp"), "{}", daemon.log());
}

#[test]
fn commands_of_root_leave_the_daemons_user_the_pins() {
    if !can_run() {
        return;
    }
    let site = site_of_user(&format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    attach_configured(&site, 0);
    let daemon = serve(&site);
    assert!(!request(&site).exists(), "there is nothing to ask for");
    for command in [&format!("optin add {OTHER}"), "detach", "attach", &format!("optin remove {OTHER}")] {
        site.sixgate(command);
    }
    wait_until("maps and store that agree", || site.ran("status").0 == Some(0));
    assert_eq!((site.rcpt(SENDER, OTHER).code, site.rcpt(SENDER, GATE).code), (550, 250));
    assert_eq!(site.counter("also_begun_not_opted_in"), 1, "the kernel answered");
    // what was detached by hand stays so, also when another interface is asked for
    site.sixgate("detach");
    assert!(!attach_configured(&site, 0).contains("attached"));
    let (status, log) = daemon.stop().unwrap();
    assert!(status.success() && !log.contains("not permitted"), "{log}");
}

#[test]
fn a_reload_that_names_an_interface_has_it_attached() {
    if !can_run() {
        return;
    }
    let site = site_of_user("");
    let daemon = serve(&site);
    let site = site.configured(&format!("xdp.interfaces = [\"{INTERFACE}\"]\nmode = \"shadow\""));
    let text = attach_configured(&site, 2);
    assert!(text.contains("(mode, xdp.interfaces)") && text.contains("`sixgate reload`"), "{text}");
    site.expect("reload", 0, &["changed: mode, xdp.interfaces\n"]);
    attach_at_request(&site);
    wait_until("the program on the interface", || site.ran("status").0 == Some(0));
    site.expect("status", 0, &["mode       shadow\n"]);
    let (status, log) = daemon.stop().unwrap();
    assert!(status.success(), "{log}");
}

#[test]
fn a_start_puts_its_configuration_in_force_in_the_maps() {
    if !can_run() {
        return;
    }
    let site = site_of_user(&format!("xdp.interfaces = [\"{INTERFACE}\"]\nmode = \"shadow\""));
    attach_configured(&site, 0);
    let site = site.configured("mode = \"enforce\"");
    let _daemon = serve(&site);
    site.expect("status", 0, &["mode       enforce\n", "ready      yes\n"]);
    assert_eq!(site.rcpt(SENDER, OTHER).code, 550);
}
