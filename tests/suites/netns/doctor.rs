//! `sixgate doctor`: each check on a host where it holds, and on one where it fails.

use std::{
    fs::{self, File, Permissions},
    os::{
        fd::AsRawFd as _,
        unix::{fs::PermissionsExt as _, process::CommandExt as _},
    },
    process::{Command, Stdio},
};

use aya::programs::XdpMode;
use serde_json::Value;
use sixgate_tests::{
    daemon,
    gate::{self, Need},
    site::{GATE, INTERFACE, OTHER, Site},
    xdp_helper::Pass,
};

use crate::can_run;

/// All that is right about the gate's own names.
pub(crate) const OURS: &str = "
    gate.example AAAA 2001:db8:25::25
    2001:db8:25::25 PTR gate.example
    contoso.com MX 10 gate.example.
";

/// A user without rights.
const UNPRIVILEGED: u32 = 65_534;

/// A site with these lines of DNS, whose gate and domain have opted in.
pub(crate) fn site(zone: &str, settings: &str) -> Site {
    let site = Site::new(zone, "answer = \"daemon\"")
        .configured(&format!("xdp.interfaces = [\"{INTERFACE}\"]"))
        .configured(settings);
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    site
}

/// Exit code and reports.
pub(crate) fn doctor(site: &Site) -> (Option<i32>, Vec<Value>) {
    let output = site.run("doctor --json");
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let checks = document["checks"].as_array().unwrap().clone();
    let errors = checks.iter().filter(|check| check["outcome"] == "error").count();
    assert_eq!(document["errors"], errors, "{document:#}");
    (output.status.code(), checks)
}

/// The reports of that check, as `OUTCOME: FOUND; CURE`.
pub(crate) fn reports(checks: &[Value], id: &str) -> Vec<String> {
    let text = |check: &Value| {
        let cure = check["cure"].as_str().map(|cure| format!("; {cure}")).unwrap_or_default();
        format!("{}: {}{cure}", check["outcome"].as_str().unwrap(), check["found"].as_str().unwrap())
    };
    checks.iter().filter(|check| check["id"] == id).map(text).collect()
}

/// That the doctor of `site` has a report of that check with all `parts`, and ends with `code`.
#[track_caller]
pub(crate) fn expect(site: &Site, code: i32, id: &str, parts: &[&str]) {
    let (ended, checks) = doctor(site);
    let found = reports(&checks, id);
    let holds = found.iter().any(|report| parts.iter().all(|part| report.contains(part)));
    assert!(holds, "{id}: {parts:?} in {found:#?}");
    let errors: Vec<&Value> = checks.iter().filter(|check| check["outcome"] == "error").collect();
    assert_eq!(ended, Some(code), "{errors:#?}");
}

#[test]
fn a_gate_that_works_has_no_errors_and_each_check_has_its_outcome() {
    if !can_run() {
        return;
    }
    let site = site(OURS, "");
    let daemon = site.serve(&[]);
    let (code, checks) = doctor(&site);
    let wrong: Vec<&Value> = checks.iter().filter(|check| check["outcome"] == "error").collect();
    assert_eq!((code, wrong.len()), (Some(0), 0), "{wrong:#?}");
    for (id, wanted) in [
        ("host.rights", "ok: run by root"),
        ("kernel.version", "ok: Linux "),
        ("kernel.program", "ok: the kernel loads the XDP program"),
        ("kernel.ipv6", "ok: 0"),
        ("config.file", "ok: no error"),
        ("config.mode", "ok: enforce"),
        ("store.file", "ok: good, 1 destinations, 1 domains"),
        ("optin.addresses", "ok: "),
        ("daemon.running", "ok: pid "),
        ("listen.port", "ok: sixgate listens"),
        ("xdp.bpffs", "ok: "),
        ("xdp.interface", "ok: driver veth, MTU 1500"),
        ("xdp.maps", "ok: they agree with the store"),
        ("next_hop.server", "ok: the Maildir can be written"),
        ("dns.server", "ok: it answers by UDP and TCP"),
        ("dns.server_host", "ok: the servers are on this host"),
        ("dns.validation", "warning: [::1]:53 does not validate with DNSSEC"),
        ("dns.hostname", "ok: it leads to this host"),
        ("dns.ptr", "ok: gate.example, which leads back"),
        ("domain.mx", "ok: gate.example leads here"),
        ("domain.tls", "ok: neither MTA-STS nor TLSA"),
        ("tls.certificate", "ok: STARTTLS is not offered"),
    ] {
        let found = reports(&checks, id);
        assert!(found.iter().any(|report| report.starts_with(wanted)), "{id}: {wanted} in {found:#?}");
    }
    let text = site.sixgate("doctor");
    assert!(text.contains("\nok           domain.mx contoso.com: gate.example leads here\n"), "{text}");
    let quiet = site.sixgate("doctor --quiet");
    assert!(!quiet.contains("\nok  ") && quiet.contains("\n             cure: "), "{quiet}");
    daemon.stop().unwrap();
    expect(&site, 0, "daemon.running", &["warning: it is not running; systemctl enable --now sixgate"]);
}

#[test]
fn nothing_is_changed_by_looking() {
    if !can_run() {
        return;
    }
    let site = site(OURS, "");
    let listed = |site: &Site| {
        let mut names: Vec<_> =
            fs::read_dir(site.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        (names, site.sixgate("store log"), fs::read(site.config()).unwrap())
    };
    let before = listed(&site);
    let _ = doctor(&site);
    assert_eq!(listed(&site), before);
    assert!(!site.pins().exists(), "no pins are made");
}

#[test]
fn another_program_at_the_port_or_on_the_interface_is_named() {
    if !can_run() {
        return;
    }
    let site = site(OURS, "");
    let listener = site.gate.listen("[::]:25".parse().unwrap()).unwrap();
    let ours = format!("(pid {}) listens at [::]:25; have ", std::process::id());
    expect(&site, 1, "listen.port", &["error: ", &ours]);
    drop(listener);
    expect(&site, 0, "listen.port", &["ok: free"]);
    let pass = Pass::attach(&site.gate, INTERFACE, XdpMode::Skb).unwrap();
    let parts = ["error: driver veth", "another XDP program (id ", "runs there; bpftool link detach id "];
    expect(&site, 1, "xdp.interface", &parts);
    drop(pass);
    site.write("xdp.interfaces = [\"none0\"]");
    expect(&site, 1, "xdp.interface", &["error: no network interface named \"none0\"", "ip -brief link"]);
    site.write("xdp.interfaces = []");
    expect(&site, 0, "xdp.interface", &["warning: no interface is configured"]);
    site.gate.ip(&format!("link set dev {INTERFACE} mtu 9000")).unwrap();
    site.write(&format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    expect(&site, 0, "xdp.interface", &["warning: ", "MTU 9000", "ip link set dev gate0 mtu 1500"]);
    let folder = site.folder().join("no-bpffs");
    site.write(&format!("xdp.bpffs = {folder:?}"));
    expect(&site, 1, "xdp.bpffs", &["error: it is not on a bpf file system; mount -t bpf bpf "]);
    site.gate.ip("link set dev gate0 down").unwrap();
    site.write("");
    expect(&site, 0, "xdp.interface", &["warning: ", "it is down; ip link set dev gate0 up"]);
}

#[test]
fn dns_servers_that_do_not_answer_are_named_each() {
    if !can_run() {
        return;
    }
    let site = site(OURS, "dns.timeout = \"500ms\"");
    site.write("dns.servers = [\"[::1]:53\", \"[::1]:5353\"]");
    let (code, checks) = doctor(&site);
    let found = reports(&checks, "dns.server");
    let [good, dead] = &found[..] else { panic!("{found:#?}") };
    assert!(good.starts_with("ok: ") && dead.starts_with("warning: "), "{found:#?}");
    assert_eq!(code, Some(0));
    site.write("dns.servers = [\"[::1]:5353\"]");
    expect(&site, 1, "dns.server", &["error: ", "/etc/resolv.conf"]);
    expect(&site, 1, "domain.mx", &["not_checked: "]);
    expect(&site, 1, "dns.validation", &["not_checked: no DNS server answers"]);
    site.write("dns.servers = [\"[2001:db8:51::53]:53\"]");
    expect(&site, 1, "dns.server_host", &["warning: [2001:db8:51::53]:53 is on another host", "unbound"]);
}

#[test]
fn mail_servers_of_listed_domains_that_do_not_lead_here_are_named() {
    if !can_run() {
        return;
    }
    let zone = |lines: &str| format!("{OURS}\n{lines}");
    let refused = "refuse_at = \"rcpt\"";
    for (mail_exchanger, settings, id, parts) in [
        (
            "fabrikam.example MX 10 mx.elsewhere.example.\nmx.elsewhere.example AAAA 2001:db8:99::1",
            "",
            "domain.mx",
            &["warning: mx.elsewhere.example leads to 2001:db8:99::1, ", "AAAA 2001:db8:25::25"][..],
        ),
        ("fabrikam.example MX 0 .", "", "domain.mx", &["null MX", "sixgate domain remove fabrikam.example"]),
        (
            "fabrikam.example MX 10 mx4.example.\nmx4.example A 192.0.2.1",
            "",
            "domain.mx",
            &[
                "warning: no mail server of it has an AAAA record (mx4.example)",
                "mx4.example. AAAA 2001:db8:25::25",
            ],
        ),
        (
            "fabrikam.example MX 10 other.example.\nother.example AAAA 2001:db8:25::99",
            "",
            "domain.mx",
            &[
                "error: other.example leads to 2001:db8:25::99 of this host",
                "sixgate optin add 2001:db8:25::99",
            ],
        ),
        ("fabrikam.example FAULT servfail", "", "domain.mx", &["not_checked: ", "SERVFAIL"]),
        (
            "fabrikam.example AAAA 2001:db8:25::25\nfabrikam.example A 192.0.2.25",
            refused,
            "domain.ipv4",
            &["warning: fabrikam.example has the IPv4 address 192.0.2.25, too", "temporary_refusals"],
        ),
        (
            "fabrikam.example AAAA 2001:db8:25::25\n_mta-sts.fabrikam.example TXT \"v=STSv1; id=1;\"",
            "",
            "domain.tls",
            &["error: it has MTA-STS, and sixgate offers no STARTTLS", "[tls]"],
        ),
        (
            "fabrikam.example MX 10 gate.example.\n_25._tcp.gate.example TLSA 3 1 1 \
             0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "",
            "domain.tls",
            &["error: gate.example has TLSA records, and sixgate offers no STARTTLS"],
        ),
    ] {
        let site = site(&zone(mail_exchanger), settings);
        site.sixgate("domain add fabrikam.example");
        let (_, checks) = doctor(&site);
        let about = |check: &&Value| check["object"] == "fabrikam.example";
        let checks: Vec<Value> = checks.iter().filter(about).cloned().collect();
        let found = reports(&checks, id);
        assert!(parts.iter().all(|part| found.concat().contains(part)), "{parts:?} in {found:#?}");
    }
}

#[test]
fn addresses_and_names_that_dns_does_not_confirm_are_warned_of() {
    if !can_run() {
        return;
    }
    let site = site("gate.example AAAA 2001:db8:99::1\n2001:db8:25::99 PTR other.example", "");
    let cure = "publish in DNS: gate.example. AAAA 2001:db8:25::25";
    expect(&site, 0, "dns.hostname", &["warning: it leads to 2001:db8:99::1", cure]);
    expect(&site, 0, "dns.ptr", &["warning: no PTR record", "PTR record to gate.example"]);
    site.sixgate(&format!("optin add {OTHER}"));
    expect(&site, 0, "dns.ptr", &["warning: other.example does not lead back"]);
    site.sixgate("optin add 2001:db8:77::1");
    let parts =
        ["warning: opted in, and not of this host: 2001:db8:77::1", "sixgate optin remove 2001:db8:77::1"];
    expect(&site, 0, "optin.addresses", &parts);
}

#[test]
fn a_next_hop_that_does_not_answer_or_is_sixgate_is_an_error() {
    if !can_run() {
        return;
    }
    let site = site(OURS, "next_hop = { smtp = \"[::1]:10025\" }");
    expect(
        &site,
        1,
        "next_hop.server",
        &["error: the connection to [::1]:10025 failed", "listen at [::1]:10025"],
    );
    site.write(&format!("next_hop = {{ smtp = \"[{GATE}]:25\" }}"));
    expect(&site, 1, "next_hop.server", &["error: ", "sixgate itself", "a listener of its own"]);
    let file = site.folder().join("file");
    fs::write(&file, "").unwrap();
    site.write(&format!("next_hop = {{ maildir = {file:?} }}"));
    expect(&site, 1, "next_hop.server", &["error: it is not a directory"]);
}

#[test]
fn a_store_or_a_configuration_that_cannot_be_used_is_an_error() {
    if !can_run() {
        return;
    }
    let site = site(OURS, "");
    fs::write(site.folder().join("bad.db"), "no database").unwrap();
    for (settings, id, parts) in [
        ("store = \"STORE/none.db\"", "store.file", ["error: no opt-in store at ", "; sixgate init"]),
        ("store = \"STORE/bad.db\"", "store.file", ["error: ", "; sixgate store restore"]),
        ("mode = \"strict\"", "config.file", ["error: ", "; correct it, then: sixgate config check"]),
        ("limits.recipients = 3", "config.warning", ["warning: limits.recipients is 3", ""]),
    ] {
        site.write(&settings.replace("STORE", &site.folder().display().to_string()));
        let code = if id == "config.warning" { 0 } else { 1 };
        expect(&site, code, id, &parts);
    }
    fs::remove_file(site.config()).unwrap();
    expect(&site, 1, "config.file", &["error: there is no configuration ", "; sixgate init --next-hop "]);
    expect(&site, 1, "kernel.version", &["ok: Linux "]);
}

#[test]
fn a_user_without_rights_gets_what_can_be_known() {
    if !gate::require(&[Need::Root, Need::Bpffs, Need::Xdp]) {
        return;
    }
    let site = site(OURS, "");
    fs::set_permissions(site.folder(), Permissions::from_mode(0o755)).unwrap();
    // by a handle: that user may not look into the folder where it was built
    let binary = File::open(daemon::binary()).unwrap();
    let mut command = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()));
    command.arg("--config").arg(site.config()).args(["doctor", "--json"]).uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = site.gate.spawn(&mut command).unwrap().wait_with_output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = document["checks"].as_array().unwrap();
    assert!(reports(checks, "host.rights")[0].starts_with("not_checked: "), "{document:#}");
    assert!(reports(checks, "dns.server")[0].starts_with("ok: "), "{document:#}");
}
