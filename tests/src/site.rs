//! A gate and the world outside it: two namespaces, a DNS server, a store, a Maildir and the real
//! daemon.
//!
//! It makes no claim; a failed step of the setup is a panic that names it.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
    path::{Path, PathBuf},
    process::Output,
    sync::{Mutex, PoisonError},
};

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    bpffs::Bpffs,
    client::{Client, Reply, Swaks, swaks},
    clock::WallClock,
    daemon::{self, Daemon},
    dns::{DnsServer, Zone},
    netns::Netns,
    settings,
};

/// The gate's first address.
pub const GATE: &str = "2001:db8:25::25";
/// Another address of the gate.
pub const OTHER: &str = "2001:db8:25::99";
/// A sender's address.
pub const SENDER: &str = "2001:db8:51::4";
/// The interface of the gate.
pub const INTERFACE: &str = "gate0";
/// The interface outside, at the other end.
pub const PEER: &str = "outside0";

/// Two hosts on one link. The daemon runs on the gate; all programs that the test starts are
/// outside.
pub struct Site {
    /// Where the daemon runs.
    pub gate: Netns,
    /// Where senders are.
    pub outside: Netns,
    /// The gate's DNS server.
    pub dns: DnsServer,
    bpffs: Bpffs,
    folder: TempDir,
    settings: toml::Table,
    sources: Mutex<BTreeSet<Ipv6Addr>>,
    // The DNS server's.
    _runtime: Runtime,
}

impl Site {
    /// A site whose DNS answers from `zone` (see [`crate::dns`]) and whose configuration is the
    /// usual one with `settings`, TOML, laid over it. Where the zone is silent, DNS time-outs are
    /// short.
    #[must_use]
    pub fn new(zone: &str, settings: &str) -> Self {
        Self::joined_by(zone, settings, |gate, outside| gate.join(INTERFACE, outside, PEER))
    }

    /// As [`Site::new`], but `join` makes [`INTERFACE`] of the gate and [`PEER`] of the outside.
    #[must_use]
    pub fn joined_by(
        zone: &str,
        settings: &str,
        join: impl FnOnce(&Netns, &Netns) -> anyhow::Result<()>,
    ) -> Self {
        let (gate, outside) = (Netns::new().unwrap(), Netns::new().unwrap());
        join(&gate, &outside).unwrap();
        for address in [GATE, OTHER] {
            gate.add_address(INTERFACE, format!("{address}/64").parse().unwrap()).unwrap();
        }
        outside.add_address(PEER, format!("{ROUTER}/64").parse().unwrap()).unwrap();
        gate.ip(&way_out("2001:db8:51::/64")).unwrap();
        outside.ip(&format!("route add 2001:db8:25::/64 dev {PEER}")).unwrap();
        let folder = tempfile::Builder::new().prefix("sixgate-").tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let zone = Zone::parse(zone).unwrap();
        let is_silent = zone.has_silence();
        let dns = {
            let _inside = runtime.enter();
            let address: SocketAddr = DNS.parse().unwrap();
            let (udp, tcp) = (gate.udp(address).unwrap(), gate.listen(address).unwrap());
            zone.serve_on(udp, tcp).unwrap()
        };
        let bpffs = Bpffs::new().unwrap();
        let mut usual = settings::usual(folder.path(), DNS);
        let pins = format!("xdp.bpffs = {:?}", bpffs.pins());
        settings::lay_over(&mut usual, pins.parse().unwrap());
        if is_silent {
            settings::lay_over(&mut usual, settings::silent_dns().parse().unwrap());
        }
        let site = Self {
            gate,
            outside,
            dns,
            settings: usual,
            bpffs,
            folder,
            sources: Mutex::default(),
            _runtime: runtime,
        };
        let site = site.configured(settings);
        // a configuration that is wrong makes none: its test looks at the error
        let _ = site.run("init");
        site
    }

    /// The same site, `settings` laid over its configuration; effective when a daemon starts.
    #[must_use]
    pub fn configured(mut self, settings: &str) -> Self {
        settings::lay_over(&mut self.settings, settings.parse().unwrap());
        fs::write(self.config(), self.settings.to_string()).unwrap();
        self
    }

    /// Writes the configuration with `settings` laid over it, for once.
    ///
    /// # Panics
    /// If `settings` are not TOML.
    pub fn write(&self, settings: &str) {
        let mut changed = self.settings.clone();
        settings::lay_over(&mut changed, settings.parse().unwrap());
        fs::write(self.config(), changed.to_string()).unwrap();
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("sixgate.toml")
    }

    /// The folder of this site's files; removed with the site.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The directory of the pins, as the setting `xdp.bpffs` names it.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.bpffs.pins()
    }

    /// Gives the link again what it loses when it goes down or is made again: addresses and routes.
    ///
    /// # Panics
    /// If `ip` fails.
    pub fn restore(&self) {
        self.gate.ip(&format!("link set {INTERFACE} up")).unwrap();
        self.outside.ip(&format!("link set {PEER} up")).unwrap();
        let ours = [GATE, OTHER].map(|address| (&self.gate, INTERFACE, address.parse::<Ipv6Addr>().unwrap()));
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let theirs = sources.iter().copied().chain([ROUTER.parse().unwrap()]);
        for (netns, interface, address) in
            ours.into_iter().chain(theirs.map(|address| (&self.outside, PEER, address)))
        {
            netns.ip(&format!("address replace {address}/64 dev {interface} nodad")).unwrap();
        }
        self.gate.ip(&way_out("2001:db8:51::/64")).unwrap();
        self.outside.ip(&format!("route replace 2001:db8:25::/64 dev {PEER}")).unwrap();
    }

    /// Starts the daemon on the gate, and waits until it has looked at its interfaces: it serves
    /// before.
    #[must_use]
    pub fn serve(&self, arguments: &[&str]) -> Daemon {
        self.try_serve(arguments).unwrap()
    }

    /// Starts the daemon on the gate, with another time of day.
    #[must_use]
    pub fn serve_by(&self, clock: &WallClock, arguments: &[&str]) -> Daemon {
        let daemon = Daemon::start_by(clock, Some(&self.gate), &self.config(), arguments).unwrap();
        settled(daemon, arguments).unwrap()
    }

    /// Starts the daemon on the gate.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn try_serve(&self, arguments: &[&str]) -> anyhow::Result<Daemon> {
        settled(Daemon::start(Some(&self.gate), &self.config(), arguments)?, arguments)
    }

    /// Runs a command of sixgate on the gate, to its end.
    #[must_use]
    pub fn run(&self, command: &str) -> Output {
        let words: Vec<&str> = command.split_whitespace().collect();
        daemon::run(Some(&self.gate), &self.config(), &words).unwrap()
    }

    /// Runs a command of sixgate that has to succeed, and returns what it printed.
    pub fn sixgate(&self, command: &str) -> String {
        succeeded(command, &self.run(command))
    }

    /// Exit code of a command, and all that it printed.
    #[must_use]
    pub fn ran(&self, command: &str) -> (Option<i32>, String) {
        let output = self.run(command);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Runs a command that has to end with `code` and to print all `parts`; returns all that it
    /// printed.
    #[track_caller]
    pub fn expect(&self, command: &str, code: i32, parts: &[&str]) -> String {
        let (ended, text) = self.ran(command);
        assert_eq!(ended, Some(code), "{command}: {text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{command}: {parts:?} in\n{text}");
        text
    }

    /// The same, with another time of day.
    pub fn sixgate_by(&self, clock: &WallClock, command: &str) -> String {
        let words: Vec<&str> = command.split_whitespace().collect();
        let output = daemon::run_by(clock, Some(&self.gate), &self.config(), &words).unwrap();
        succeeded(command, &output)
    }

    /// A counter of the XDP program, as `sixgate stats` reports it.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        let stats: serde_json::Value = serde_json::from_str(&self.sixgate("stats --json")).unwrap();
        let counters = stats["counters"].as_array().unwrap_or_else(|| panic!("no counters in {stats}"));
        let counter = counters.iter().find(|counter| counter["name"] == name);
        counter
            .and_then(|counter| counter["value"].as_u64())
            .unwrap_or_else(|| panic!("no counter {name} in {stats}"))
    }

    /// Lets the gate find its way back to senders of `net`.
    ///
    /// # Panics
    /// If `ip` fails.
    pub fn route(&self, net: &str) {
        self.gate.ip(&way_out(net)).unwrap();
    }

    /// Connects from `source` to port 25 of `destination`; it has to be there.
    #[must_use]
    pub fn connect(&self, source: &str, destination: &str) -> Client {
        self.try_connect(source, destination).unwrap()
    }

    /// Connects from `source` to port 25 of `destination`.
    ///
    /// # Errors
    /// The error of connect(2).
    pub fn try_connect(&self, source: &str, destination: &str) -> std::io::Result<Client> {
        let source = self.source(source);
        Client::connect(Some(&self.outside), SocketAddrV6::new(source, 0, 0, 0), smtp(destination))
    }

    /// The reply to RCPT for user@contoso.com, from a@sender.example, in a session of its own.
    ///
    /// # Panics
    /// If a command before that is refused.
    #[must_use]
    pub fn rcpt(&self, source: &str, destination: &str) -> Reply {
        let mut client = self.connect(source, destination);
        assert_eq!(client.reply().unwrap().code, 220);
        assert_eq!(client.say("HELO mail.sender.example").unwrap().code, 250);
        assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
        let reply = client.say("RCPT TO:<user@contoso.com>").unwrap();
        assert_eq!(client.say("QUIT").unwrap().code, 221);
        client.closed().unwrap();
        reply
    }

    /// Sends a message with swaks from `source`.
    #[must_use]
    pub fn swaks(&self, source: &str, destination: &str, arguments: &[&str]) -> Swaks {
        let source = self.source(source).to_string();
        let arguments = [&["--local-interface", &source], arguments].concat();
        swaks(&self.outside, smtp(destination), &arguments).unwrap()
    }

    /// Every message in the Maildir, in the order of their names.
    #[must_use]
    pub fn delivered(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.folder.path().join("Maildir/new")) else {
            return Vec::new();
        };
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()).collect()
    }

    /// The message in the file `name` of the Maildir.
    #[must_use]
    pub fn file(&self, name: &str) -> String {
        let octets = fs::read(self.folder.path().join("Maildir/new").join(name)).unwrap();
        String::from_utf8_lossy(&octets).into_owned()
    }

    /// Makes `address` one of the outside's.
    fn source(&self, address: &str) -> Ipv6Addr {
        let address = address.parse().unwrap();
        let is_new = self.sources.lock().unwrap_or_else(PoisonError::into_inner).insert(address);
        if is_new {
            let prefix = ipnet::Ipv6Net::new(address, 64).unwrap();
            self.outside.add_address(PEER, prefix).unwrap();
        }
        address
    }
}

/// The daemon, once it has reported which side answers, if it works with the XDP program.
fn settled(mut daemon: Daemon, arguments: &[&str]) -> anyhow::Result<Daemon> {
    if !arguments.contains(&"--no-xdp") {
        daemon.wait_until_settled()?;
    }
    Ok(daemon)
}

/// The output of a command that had to succeed.
fn succeeded(command: &str, output: &Output) -> String {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "sixgate {command}: {}\n{stdout}{stderr}", output.status);
    stdout.into_owned()
}

fn smtp(address: &str) -> SocketAddrV6 {
    SocketAddrV6::new(address.parse().unwrap(), 25, 0, 0)
}

/// Through one router, however many senders there are: the host has one table of neighbours for all
/// namespaces, and it is small.
fn way_out(net: &str) -> String {
    format!("route replace {net} via {ROUTER} dev {INTERFACE}")
}

const DNS: &str = "[::1]:53";
/// The outside, as the gate's way there.
const ROUTER: &str = "fe80::51";
