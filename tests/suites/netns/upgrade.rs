//! Restarts and upgrades under load: no connection is refused or reset, no client gets another
//! reply than ever, and each accepted message is at the next hop once.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use sixgate_tests::{
    daemon::binary,
    gate::{self, Need},
    service::Service,
    site::{GATE, INTERFACE, OTHER, SENDER, Site},
    smtp_sink::SmtpSink,
    timeouts::wait_until,
};

use crate::{ZONE, behind::PLAIN};

/// The observations of the clients of one run.
#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    refused: AtomicUsize,
    wrong: Mutex<Vec<String>>,
    is_enough: AtomicBool,
}

/// One session: `commands` with the code that each has to get.
fn session(site: &Site, destination: &str, commands: &[(&str, u16)]) -> anyhow::Result<()> {
    let mut client = site.try_connect(SENDER, destination)?;
    anyhow::ensure!(client.reply()?.code == 220, "no greeting");
    for (command, code) in commands {
        let reply = client.say(command)?;
        anyhow::ensure!(reply.code == *code, "{command}: {reply:?}");
    }
    client.closed()
}

impl Seen {
    fn send(&self, site: &Site, worker: usize) {
        for count in 0.. {
            if self.is_enough.load(Ordering::Relaxed) {
                return;
            }
            let content = format!("Subject: load-{worker}-{count}\r\n\r\n.");
            let done = session(
                site,
                GATE,
                &[
                    ("EHLO mail.sender.example", 250),
                    ("MAIL FROM:<a@sender.example>", 250),
                    ("RCPT TO:<user@contoso.com>", 250),
                    ("DATA", 354),
                    (&content, 250),
                    ("QUIT", 221),
                ],
            );
            self.count(&self.accepted, done);
        }
    }

    fn be_refused(&self, site: &Site) {
        while !self.is_enough.load(Ordering::Relaxed) {
            let done = session(
                site,
                OTHER,
                &[
                    ("HELO mail.sender.example", 250),
                    ("MAIL FROM:<a@sender.example>", 250),
                    ("RCPT TO:<user@contoso.com>", 550),
                    ("QUIT", 221),
                ],
            );
            self.count(&self.refused, done);
            // the client's ports are few, and each waits for a minute
            self.wait_for_accepted(1);
        }
    }

    /// Waits for `count` more accepted messages, or for the end of the run.
    fn wait_for_accepted(&self, count: usize) {
        let enough = self.accepted.load(Ordering::Relaxed) + count;
        wait_until("messages are accepted", || {
            self.accepted.load(Ordering::Relaxed) >= enough || self.is_enough.load(Ordering::Relaxed)
        });
    }

    fn count(&self, as_ever: &AtomicUsize, done: anyhow::Result<()>) {
        match done {
            Ok(()) => {
                as_ever.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                self.wrong.lock().unwrap().push(format!("{error:#}"));
                self.is_enough.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// The binary as another version would be: it has another number.
fn another_version(site: &Site) -> PathBuf {
    let (ours, other) = (b"0.1.0", b"0.1.9");
    let mut octets = fs::read(binary()).unwrap();
    for at in 0..octets.len() - ours.len() {
        if octets[at..].starts_with(ours) {
            octets[at..at + other.len()].copy_from_slice(other);
        }
    }
    let path = site.folder().join("sixgate-of-another-version");
    fs::copy(binary(), &path).unwrap();
    fs::write(&path, octets).unwrap();
    path
}

fn version(site: &Site) -> String {
    let status: serde_json::Value = serde_json::from_slice(&site.run("status --json").stdout).unwrap();
    status["daemon"]["version"].as_str().unwrap_or_else(|| panic!("{status}")).to_owned()
}

#[test]
fn restarts_and_upgrades_under_load_lose_no_connection() {
    if !gate::require(&[Need::Root, Need::Bpffs, Need::Xdp, Need::Postfix]) {
        return;
    }
    for (answer, has_unit) in [("kernel", false), ("daemon", true)] {
        let settings = format!("answer = {answer:?}\n{PLAIN}\nxdp.interfaces = [\"{INTERFACE}\"]");
        let site = Site::new(ZONE, &settings);
        site.sixgate(&format!("optin add {GATE}"));
        site.sixgate("domain add contoso.com");
        // one in ten messages gets a late reply
        let behind: SocketAddr = "[::1]:10025".parse().unwrap();
        let sink = SmtpSink::start(&site.gate, behind, &["-W", ".:2:10"]).unwrap();
        site.gate.tool("sysctl", "-qw net.ipv6.bindv6only=1").unwrap();
        let socket = has_unit.then(|| site.gate.listen("[::]:25".parse().unwrap()).unwrap());
        let mut service = Service::start(&site, socket, &[]).unwrap();
        let versions = [another_version(&site), binary()];
        let seen = Seen::default();
        // the address is there before the clients are
        drop(site.connect(SENDER, OTHER));
        thread::scope(|scope| {
            for worker in 0..3 {
                let (seen, site) = (&seen, &site);
                scope.spawn(move || seen.send(site, worker));
            }
            for _ in 0..2 {
                scope.spawn(|| seen.be_refused(&site));
            }
            let mut found = Vec::new();
            for program in versions.iter().cycle().take(6) {
                seen.wait_for_accepted(BETWEEN);
                let restarted = service.restart(program);
                if let Err(error) = restarted {
                    seen.is_enough.store(true, Ordering::Relaxed);
                    panic!("{error:#}");
                }
                found.push(version(&site));
            }
            seen.wait_for_accepted(BETWEEN);
            seen.is_enough.store(true, Ordering::Relaxed);
            assert_eq!(found, ["0.1.9", "0.1.0", "0.1.9", "0.1.0", "0.1.9", "0.1.0"]);
        });
        let wrong = seen.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{answer}: {wrong:#?}");
        let (accepted, refused) = (seen.accepted.into_inner(), seen.refused.into_inner());
        assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
        let mut arrived = BTreeMap::<String, usize>::new();
        for message in sink.messages().unwrap() {
            let subject = message.lines().find(|line| line.starts_with("Subject: load-"));
            *arrived.entry(subject.unwrap().to_owned()).or_default() += 1;
        }
        assert!(arrived.values().all(|times| *times == 1), "{arrived:?}");
        assert_eq!(arrived.len(), accepted);
        // the old daemons have had their last sessions
        for at in 0..6 {
            service.wait_for_log(at, "the sessions have ended").unwrap();
        }
        let by_kernel = site.counter("tag_not_opted_in") == 0;
        assert_eq!(by_kernel, answer == "kernel");
    }
}

/// Accepted messages between two restarts.
const BETWEEN: usize = 10;
