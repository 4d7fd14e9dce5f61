//! Claims about a gate that works for a long time at full speed: nothing is accepted that must not
//! be, what was accepted is behind exactly once, and nothing grows.
//!
//! Honest, bad and hostile clients talk to the real daemon, which asks a real DNS server. In the
//! ordinary tests it is over in half a minute; `cargo xtask test --long` takes an hour, or
//! [`SECONDS`] seconds.

mod behind;
mod dice;
mod honest;
mod hostile;
mod ledger;
mod letter;
mod wire;
mod world;

use std::{
    env, fs,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use sixgate_tests::{
    daemon::Daemon,
    gate::{self, Need},
    sign,
    site::{GATE, Site},
    timeouts::wait_until,
};

use crate::{
    letter::{DENIED, DOMAIN, SELECTOR, SIGNED},
    world::{Certificates, NextHop, SOURCES, World},
};

#[test]
fn nothing_is_lost_doubled_or_let_in_before_a_maildir_and_nothing_grows() {
    if !gate::require(NEEDS) {
        return;
    }
    let certificates = Certificates::new();
    let site = site(&certificates, "");
    let world = World::new(&site, &certificates, NextHop::Maildir);
    let ledger = Arc::clone(&world.ledger);
    let maildir = site.folder().join("Maildir");
    let (over, watched) = mpsc::channel::<()>();
    let collector = thread::spawn(move || behind::empty_maildir(&maildir, &ledger, &watched));
    soak(&site, &world);
    drop(over);
    collector.join().unwrap().unwrap();
    world.settle();
}

#[test]
fn mail_before_a_moody_smtp_server_is_neither_lost_doubled_nor_let_in() {
    if !gate::require(NEEDS) {
        return;
    }
    let certificates = Certificates::new();
    let site = site(&certificates, &format!("next_hop.smtp = {BEHIND:?}"));
    let world = World::new(&site, &certificates, NextHop::Smtp);
    let listener = site.gate.listen(BEHIND.parse().unwrap()).unwrap();
    behind::mail_server(move || Ok(listener.accept()?.0), NextHop::Smtp, &world.ledger);
    soak(&site, &world);
    world.settle();
}

#[test]
fn mail_before_a_moody_lmtp_server_is_neither_lost_doubled_nor_let_in() {
    if !gate::require(NEEDS) {
        return;
    }
    let certificates = Certificates::new();
    let site = site(&certificates, "");
    let socket = site.folder().join("lmtp");
    let site = site.configured(&format!("next_hop.lmtp = {:?}", format!("unix:{}", socket.display())));
    let world = World::new(&site, &certificates, NextHop::Lmtp);
    let listener = UnixListener::bind(&socket).unwrap();
    behind::mail_server(move || Ok(listener.accept()?.0), NextHop::Lmtp, &world.ledger);
    soak(&site, &world);
    world.settle();
}

/// Works for as long as the run shall take, and compares what the daemon holds after a part of it
/// with what it holds at the end.
fn soak(site: &Site, world: &World) {
    let daemon = site.serve(&["--no-xdp"]);
    let descriptors = Holdings::of(&daemon).descriptors + LASTING;
    let time = duration();
    world.work(site, time / WARM_UP_PART, 1);
    let before = idle_again(&daemon, descriptors);
    world.work(site, time - time / WARM_UP_PART, 1000);
    let after = idle_again(&daemon, descriptors);
    eprintln!("before {before:?}, after {after:?}");
    assert!(after.descriptors <= descriptors, "descriptors are left: {before:?}, {after:?}");
    let allowed = before.resident + before.resident / 4 + GROWTH_MAX;
    assert!(after.resident <= allowed, "the daemon grew: {before:?}, {after:?}");
    assert_eq!(fs::read_dir(temporary(site)).unwrap().count(), 0, "temporary files have no names");
    let (status, log) = daemon.stop().unwrap();
    assert!(status.success(), "{status}");
    for word in ["panicked", "ERROR"] {
        let line = log.lines().find(|line| line.contains(word));
        assert_eq!(line, None, "in the log");
    }
}

/// The daemon's resources in use.
#[derive(Clone, Copy, Debug)]
struct Holdings {
    descriptors: usize,
    /// KiB (proc_pid_status(5), VmRSS).
    resident: u64,
}

impl Holdings {
    fn of(daemon: &Daemon) -> Self {
        let process = Path::new("/proc").join(daemon.pid().to_string());
        let status = fs::read_to_string(process.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Self {
            descriptors: fs::read_dir(process.join("fd")).unwrap().count(),
            resident: line.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

/// The daemon's resources in use once the last session has ended: a client may be gone while its
/// message is looked at.
fn idle_again(daemon: &Daemon, descriptors: usize) -> Holdings {
    let mut now = Holdings::of(daemon);
    wait_until("the descriptors of the last sessions are closed", || {
        now = Holdings::of(daemon);
        now.descriptors <= descriptors
    });
    now
}

fn site(certificates: &Certificates, settings: &str) -> Site {
    let key = sign::ED25519_RECORD;
    let pointers: Vec<String> =
        SOURCES.iter().map(|source| format!("{source} 3600 PTR mail.{DOMAIN}")).collect();
    let zone = format!(
        "{}\n{DOMAIN} 3600 TXT \"v=spf1 ip6:2001:db8:51::/64 -all\"\n{DENIED} 3600 TXT \"v=spf1 -all\"\n\
         {SELECTOR}._domainkey.{SIGNED} 3600 TXT {key}",
        pointers.join("\n")
    );
    let limits = format!(
        "log.level = \"warn\"\ndns.timeout = \"10s\"\n\
         limits = {{ message_size = {MESSAGE_SIZE}, message_memory = {MESSAGE_MEMORY}, command_timeout = \"{SHORT}\", \
         data_timeout = \"{SHORT}\", dns_questions_per_minute = 1000000, messages_per_connection = 10 }}"
    );
    let site = Site::new(&zone, &limits).configured(settings);
    let folder = site.folder().to_owned();
    certificates.gate.issue("gate.example").install(&folder).unwrap();
    fs::write(folder.join("partners.pem"), certificates.partners.pem()).unwrap();
    fs::create_dir(temporary(&site)).unwrap();
    let tls = format!(
        "temporary_directory = {:?}\ntls = {{ certificate = {:?}, key = {:?}, client_trust.ca = {:?} }}",
        temporary(&site),
        folder.join("certificate.pem"),
        folder.join("key.pem"),
        folder.join("partners.pem"),
    );
    let site = site.configured(&tls);
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add gate.example");
    site
}

/// Where large messages lie while they are here.
fn temporary(site: &Site) -> PathBuf {
    site.folder().join("temporary")
}

/// How long a run takes.
fn duration() -> Duration {
    let set = env::var(SECONDS).ok().map(|text| text.parse().expect("a number of seconds"));
    let usual = if gate::long() { 3600 } else { 20 };
    Duration::from_secs(set.unwrap_or(usual))
}

/// The environment variable with the duration of each run, in seconds.
const SECONDS: &str = "SIXGATE_SOAK_SECONDS";
const NEEDS: &[Need] = &[Need::Root, Need::Program("ip"), Need::Bpffs];
const BEHIND: &str = "[::1]:2525";
const MESSAGE_SIZE: usize = 3_000_000;
const MESSAGE_MEMORY: usize = 200_000_000;
/// Long for an honest client on a busy machine, short for a slow one.
const SHORT: &str = "10s";
/// The part of the time after which everything has its size.
const WARM_UP_PART: u32 = 5;
/// KiB by which the daemon may grow beyond a quarter.
const GROWTH_MAX: u64 = 16 * 1024;
/// Descriptors that the daemon opens with its first sessions and keeps, for DNS.
const LASTING: usize = 4;
