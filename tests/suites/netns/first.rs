//! Mail comes first: where the XDP program cannot be attached, the daemon serves and decides alone,
//! logs why, tries again, and `status` ends with 1 meanwhile.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use aya::programs::XdpMode;
use sixgate_dataplane::{Pins, embedded_object};
use sixgate_tests::{
    daemon::{Daemon, binary},
    netns::Netns,
    site::{GATE, INTERFACE, OTHER, PEER, SENDER, Site},
    timeouts::wait_until,
    xdp_helper::Pass,
};

use crate::{ORDINARY, ZONE, can_run};

/// A site with the usual store, no daemon yet.
fn site(settings: &str) -> Site {
    let site = Site::new(ZONE, "answer = \"daemon\"").configured(settings);
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    site
}

/// Mail is taken and refused as ever.
#[track_caller]
fn serves(site: &Site) {
    assert_eq!(site.swaks(SENDER, GATE, ORDINARY).code, 0);
    let refused = site.swaks(SENDER, OTHER, ORDINARY);
    assert!(refused.output.contains("550 5.2.1"), "{}", refused.output);
}

#[track_caller]
fn status(site: &Site, code: i32, words: &str) {
    let output = site.run("status");
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(words), "{words:?} in\n{text}");
    let json: serde_json::Value = serde_json::from_slice(&site.run("status --json").stdout).unwrap();
    assert_eq!(json["problems"].as_array().unwrap().is_empty(), code == 0, "{json}");
}

/// `status` ends with 0, once the maps follow the addresses and the daemon has looked again.
#[track_caller]
fn is_good(site: &Site) {
    wait_until("status reports no problem", || site.run("status").status.success());
}

#[track_caller]
fn error_line(daemon: &Daemon, text: &str) {
    let line = daemon.wait_for_log(text).unwrap();
    assert!(line.contains("ERROR"), "{line}");
}

#[test]
fn a_missing_interface_delays_neither_mail_nor_another_interface() {
    if !can_run() {
        return;
    }
    let site = site(&format!("xdp.interfaces = [\"late0\", \"{INTERFACE}\"]"));
    let daemon = site.serve(&[]);
    error_line(&daemon, "no network interface named \"late0\"");
    daemon.wait_for_log("gate0: attached").unwrap();
    serves(&site);
    assert_eq!(site.counter("tag_not_opted_in"), 1);
    status(&site, 1, "no network interface named \"late0\"");
    let beside = Netns::new().unwrap();
    site.gate.join("late0", &beside, "outside1").unwrap();
    daemon.wait_for_log("late0: attached").unwrap();
    is_good(&site);
    // attached by hand, all or nothing
    let failed = site.run("attach --iface gate0 --iface none0");
    assert_eq!(failed.status.code(), Some(2), "{failed:?}");
}

#[test]
fn mail_is_served_before_the_program_is_attached() {
    if !can_run() {
        return;
    }
    let site = site(&format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    let changing = site.pins().join("changing");
    fs::create_dir_all(&changing).unwrap();
    let lock = fs::File::open(changing).unwrap();
    lock.lock().unwrap();
    // ready, although attaching waits for the lock
    let daemon = Daemon::start(Some(&site.gate), &site.config(), &[]).unwrap();
    serves(&site);
    assert!(!daemon.log().contains("gate0: attached"), "{}", daemon.log());
    lock.unlock().unwrap();
    daemon.wait_for_log("gate0: attached").unwrap();
    is_good(&site);
}

#[test]
fn a_rejected_program_is_not_loaded_again_nor_a_loaded_one_verified() {
    if !can_run() {
        return;
    }
    let site = site(&format!("log.level = \"debug\"\nxdp.interfaces = [\"{INTERFACE}\"]"));
    let loads = |daemon: &Daemon| daemon.log().matches("the verifier ").count();
    let toggle = || {
        for mtu in [1400, 1500] {
            site.gate.ip(&format!("link set {INTERFACE} mtu {mtu}")).unwrap();
        }
    };
    let daemon = Daemon::start_binary(&without_helpers(&site), Some(&site.gate), &site.config()).unwrap();
    error_line(&daemon, "does not try again before its next start");
    serves(&site);
    let before = loads(&daemon);
    assert!((1..=2).contains(&before), "{}", daemon.log());
    toggle();
    // the daemon has looked at a later change, too
    site.gate.ip(&format!("link set {INTERFACE} name aside0")).unwrap();
    error_line(&daemon, "no network interface named \"gate0\"");
    site.gate.ip(&format!("link set aside0 name {INTERFACE}")).unwrap();
    site.gate.ip(&format!("link set {INTERFACE} up")).unwrap();
    assert_eq!(loads(&daemon), before, "{}", daemon.log());
    daemon.stop().unwrap();

    let daemon = site.serve(&[]);
    let before = loads(&daemon);
    assert!((1..=2).contains(&before), "{}", daemon.log());
    let pins = fs::read_dir(live(&site).join("links")).unwrap();
    pins.for_each(|pin| fs::remove_file(pin.unwrap().path()).unwrap());
    daemon.wait_for_lines("gate0: attached", 2).unwrap();
    assert_eq!(loads(&daemon), before, "{}", daemon.log());
}

/// The binary with a program that calls, instead of each helper, one that no kernel has.
fn without_helpers(site: &Site) -> PathBuf {
    let mut octets = fs::read(binary()).unwrap();
    let object = embedded_object();
    let at = octets.windows(object.len()).position(|window| window == object).unwrap();
    for instruction in octets[at..at + object.len()].chunks_exact_mut(8) {
        // BPF_JMP | BPF_CALL of a helper (include/uapi/linux/bpf.h)
        if let [0x85, 0, 0, 0, helper @ 1..=255, high @ 0, 0, 0] = instruction {
            (*helper, *high) = (0xff, 0x7f);
        }
    }
    let path = site.folder().join("sixgate");
    fs::write(&path, octets).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn an_occupied_interface_is_logged_with_a_command_and_used_once_free() {
    if !can_run() {
        return;
    }
    let site = site(&format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    let other = Pass::attach(&site.gate, INTERFACE, XdpMode::Driver).unwrap();
    let daemon = site.serve(&[]);
    error_line(&daemon, "is attached to gate0: detach it first (`bpftool link detach id ");
    serves(&site);
    status(&site, 1, "another XDP program (id ");
    drop(other);
    daemon.wait_for_log("gate0: attached").unwrap();
    // a later line revokes the first one
    assert!(daemon.log().contains("refusals are answered by the daemon"), "{}", daemon.log());
    daemon.wait_for_log("refusals are now answered by the ").unwrap();
    is_good(&site);
}

#[test]
fn a_program_that_no_link_holds_is_reported_with_its_mode() {
    if !can_run() {
        return;
    }
    let site = site("");
    for mode in ["xdpgeneric", "xdpdrv"] {
        let elsewhere = Pass::attach(&site.outside, PEER, XdpMode::Skb).unwrap();
        let id = elsewhere.info().unwrap().id();
        // by netlink, as `ip link set … xdp` does, while a link holds the same program elsewhere
        let attach = format!("net attach {mode} id {id} dev {INTERFACE}");
        let done = site.gate.run(|| Command::new("bpftool").args(attach.split(' ')).output().unwrap());
        assert!(done.status.success(), "{done:?}");
        let failed = site.run(&format!("attach --iface {INTERFACE}"));
        let text = String::from_utf8_lossy(&failed.stderr);
        let remedy = format!("`ip link set dev {INTERFACE} {mode} off`");
        assert!(failed.status.code() == Some(2) && text.contains(&remedy), "{text}");
        assert!(site.gate.ip(&format!("link show {INTERFACE}")).unwrap().contains("xdp"), "it is left alone");
        site.gate.ip(&format!("link set dev {INTERFACE} {mode} off")).unwrap();
    }
    let _one = Pass::attach(&site.gate, INTERFACE, XdpMode::Skb).unwrap();
    let failed = site.run(&format!("attach --iface {INTERFACE}"));
    let text = String::from_utf8_lossy(&failed.stderr);
    assert!(text.contains("(`bpftool link detach id ") && !text.contains("ip link"), "{text}");
}

#[test]
fn without_a_bpffs_mail_is_served_and_attached_once_there_is_one() {
    if !can_run() {
        return;
    }
    let site = site(&format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    let plain = site.folder().join("plain");
    fs::create_dir(&plain).unwrap();
    let site = site.configured(&format!("xdp.bpffs = {plain:?}"));
    let daemon = site.serve(&[]);
    error_line(&daemon, "no bpffs at");
    serves(&site);
    status(&site, 1, "no bpffs at");
    mount_over(&plain);
    daemon.wait_for_log("gate0: attached").unwrap();
    is_good(&site);
    daemon.stop().unwrap();
    site.sixgate("detach");
    unmount(&plain);
}

fn mount_over(place: &Path) {
    let none = None::<&str>;
    nix::mount::mount(Some("bpf"), place, Some("bpf"), nix::mount::MsFlags::empty(), none).unwrap();
}

fn unmount(place: &Path) {
    nix::mount::umount2(place, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn an_interface_without_an_ethernet_header_is_named_and_hinders_no_other() {
    if !can_run() {
        return;
    }
    let site = site(&format!("answer = \"kernel\"\nxdp.interfaces = [\"{INTERFACE}\", \"tun7\"]"));
    if site.gate.ip("tuntap add dev tun7 mode tun").is_err() {
        return;
    }
    let daemon = site.serve(&[]);
    let reason = "tun7 has no Ethernet header (link type none): refusals there are made by the daemon";
    daemon
        .wait_for_log(&format!("refusals are answered by the kernel, except on some interfaces: {reason}"))
        .unwrap();
    status(&site, 0, &format!("; {reason}\n"));
    assert!(site.sixgate("status").contains("\nanswer     kernel\n"));
    assert_eq!(site.connect(SENDER, OTHER).reply().unwrap().code, 220);
    assert_eq!(site.counter("also_begun_not_opted_in"), 1, "the kernel answers on gate0");
    site.sixgate(&format!("detach --iface {INTERFACE}"));
    daemon.wait_for_log("refusals are now answered by the daemon instead of the kernel: tun7").unwrap();
    let attached = site.sixgate("attach --iface tun7");
    assert!(attached.contains(&format!("answer: daemon, not kernel: {reason}\n")), "{attached}");
}

#[test]
fn a_second_daemon_on_the_same_pins_is_refused_before_it_changes_anything() {
    if !can_run() {
        return;
    }
    let site = site(&format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    let first = site.serve(&[]);
    let usual = fs::read(site.config()).unwrap();
    let other = "mode = \"shadow\"\nlisten.addresses = [\"[::1]:2525\"]";
    let site = site.configured(other);
    let text = site.try_serve(&[]).expect_err("the second is refused").to_string();
    let wanted =
        format!("another sixgate daemon, pid {}, uses the pins in {}", first.pid(), site.pins().display());
    assert!(text.contains("exit status: 2") && text.contains(&wanted) && text.contains("--no-xdp"), "{text}");
    let beside = site.serve(&["--no-xdp"]);
    fs::write(site.config(), &usual).unwrap();
    assert!(site.sixgate("status").starts_with("mode       enforce\n"));
    serves(&site);
    beside.stop().unwrap();
    // the lock goes with the process
    first.kill().unwrap();
    let _next = site.serve(&[]);
    is_good(&site);
}

#[test]
fn pins_of_another_layout_are_named_by_each_command_and_mail_is_served() {
    if !can_run() {
        return;
    }
    let site = site("xdp.interfaces = []");
    site.sixgate(&format!("attach --iface {INTERFACE}"));
    // as another version would have left them: this version's program runs from maps that are not
    // this version's
    let other = site.pins().join("v1");
    fs::rename(live(&site), &other).unwrap();
    let wanted = format!("has pinned its XDP program in {}", other.display());
    for command in [
        "optin add 2001:db8::1",
        "trust add 2001:db8::/32",
        "stats",
        "flows",
        "ptr list",
        "detach",
        "attach --iface gate0",
        "guard list",
    ] {
        let output = site.run(command);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {text}");
        assert!(text.contains(&wanted) && text.contains("detach --other-layouts"), "{command}: {text}");
    }
    status(&site, 1, &wanted);
    let daemon = site.serve(&[]);
    error_line(&daemon, "the daemon decides alone there and tries again");
    serves(&site);
    let done = site.sixgate("detach --other-layouts");
    assert_eq!(done, "the pins of other versions are removed\ngate0: detached\n");
    assert!(!site.gate.ip(&format!("link show {INTERFACE}")).unwrap().contains("xdp"));
    assert_eq!(site.run("detach --other-layouts").status.code(), Some(1));
    is_good(&site);
    daemon.stop().unwrap();
}

#[test]
fn a_daemon_takes_the_place_of_another_layouts_program() {
    if !can_run() {
        return;
    }
    let site = site(&format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    site.sixgate("attach");
    let pins = Pins::new(&site.pins());
    let link = || sixgate_dataplane::attached(&pins).unwrap()[0].link;
    let before = link();
    fs::rename(live(&site), site.pins().join("v1")).unwrap();
    let daemon = site.serve(&[]);
    daemon
        .wait_for_log("another version of sixgate has pinned its XDP program: this version's takes its place")
        .unwrap();
    daemon.wait_for_log("gate0: program replaced").unwrap();
    is_good(&site);
    // the interface was never without a program
    assert_eq!(link(), before);
    assert!(!site.pins().join("v1").exists());
    serves(&site);
    assert_eq!(site.counter("tag_not_opted_in"), 1);
}

/// The pins in use.
fn live(site: &Site) -> PathBuf {
    Pins::new(&site.pins()).directory()
}

#[test]
fn an_address_that_guard_does_not_cover_is_warned_of() {
    if !can_run() {
        return;
    }
    let site = site(&format!("xdp.interfaces = [\"{INTERFACE}\"]"));
    site.gate.add_address("lo", "2001:db8:99::1/128".parse().unwrap()).unwrap();
    let daemon = site.serve(&[]);
    let warning = |address: &str| format!("GUARD does not cover {address} of lo");
    let line = daemon.wait_for_log(&warning("2001:db8:99::1")).unwrap();
    assert!(line.contains("WARN"), "{line}");
    is_good(&site);
    status(&site, 0, &warning("2001:db8:99::1"));
    site.gate.add_address("lo", "2001:db8:99::2/128".parse().unwrap()).unwrap();
    daemon.wait_for_log(&warning("2001:db8:99::2")).unwrap();
    site.sixgate("guard add 2001:db8:99::1");
    site.sixgate("optin add 2001:db8:99::2");
    let output = site.run("status");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("GUARD"), "{output:?}");
    site.sixgate("guard remove 2001:db8:99::1");
    status(&site, 0, &warning("2001:db8:99::1"));
    let site = site.configured("listen.addresses = [\"[2001:db8:25::25]:25\"]");
    let output = site.run("status");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("GUARD"), "{output:?}");
    let site = site.configured("listen.addresses = [\"[::]:25\"]\nxdp.guard = \"store\"");
    let output = site.run("status");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("GUARD does not"), "{output:?}");
}
