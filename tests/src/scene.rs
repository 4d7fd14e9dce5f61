//! A site whose XDP program answers, over one of the links that it is made for; and the scripts
//! whose sessions it refuses from their first packet, played there.
//!
//! Who answered is read off the program's counters; whether that is right is the caller's business.

use std::{
    collections::BTreeSet,
    fmt,
    net::{Ipv6Addr, SocketAddrV6},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::XdpMode;
use ipnet::Ipv6Net;
use sixgate_common::refuse::Reason;

use crate::{
    cards::{self, Lent},
    client::Client,
    dialog::{
        Script, Step,
        facts::Facts,
        play::{folder, play, scripts},
    },
    netns::Netns,
    site::{INTERFACE, PEER, Site},
    xdp_helper::Pass,
};

/// Where sender and program meet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Link {
    /// A veth pair, the program in its driver.
    Native,
    /// The same; the caller attaches the program of the other end.
    Lossy,
    /// A veth pair, the program in the network stack.
    Generic,
    /// Both on one host.
    Loopback,
    /// Two cards on one wire, the program in the driver where that can run it.
    Card,
    /// Two cards on one wire, the program in the network stack.
    CardGeneric,
}

impl Link {
    fn is_of_cards(self) -> bool {
        matches!(self, Self::Card | Self::CardGeneric)
    }

    /// The program's interface and the setting `xdp.mode`.
    fn attachment(self) -> (&'static str, &'static str) {
        match self {
            Self::Native | Self::Lossy => (INTERFACE, "native"),
            Self::Generic | Self::CardGeneric => (INTERFACE, "generic"),
            Self::Loopback => ("lo", "generic"),
            Self::Card => (INTERFACE, "auto"),
        }
    }
}

/// Who answered sessions that are refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Responder {
    /// The XDP program.
    Kernel,
    /// The daemon: the program passed their SYNs on.
    Daemon,
    /// Some the one, some the other.
    Both,
    /// Neither of the two.
    None,
}

impl fmt::Display for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Daemon => "daemon",
            Self::Both => "kernel and daemon",
            Self::None => "-",
        })
    }
}

/// A site whose program answers, and senders that reach it.
pub struct Scene {
    /// The two hosts.
    pub site: Site,
    link: Link,
    /// Senders that have their address.
    senders: Mutex<BTreeSet<Ipv6Addr>>,
    lent: Option<Lent>,
    _peer: Option<Pass>,
}

impl Scene {
    /// A site as [`Site::new`] makes it, whose daemon will attach the program where `link` puts it.
    ///
    /// # Errors
    /// If the peer's program cannot be attached, or there are no cards.
    pub fn new(link: Link, zone: &str, settings: &str) -> Result<Self> {
        let (interface, mode) = link.attachment();
        let mut lent = None;
        let site = if link.is_of_cards() {
            Site::joined_by(zone, settings, |gate, outside| {
                lent = Some(cards::lend(&[(gate, INTERFACE), (outside, PEER)])?);
                Ok(())
            })
        } else {
            Site::new(zone, settings)
        };
        let site = site.configured(&format!("xdp = {{ interfaces = [\"{interface}\"], mode = \"{mode}\" }}"));
        // what answers natively on a veth reaches only a peer that has a program, too
        let peer = (link == Link::Native).then(|| Pass::attach(&site.outside, PEER, XdpMode::Driver));
        if link == Link::Loopback {
            site.sixgate("guard add 2001:db8:25::/64");
        }
        Ok(Self { site, link, senders: Mutex::default(), lent, _peer: peer.transpose()? })
    }

    /// Connects from `source` to port 25 of `destination`.
    ///
    /// # Errors
    /// The error of connect(2).
    ///
    /// # Panics
    /// If one of the two is not an address, or the host does not take the sender's.
    pub fn connect(&self, source: &str, destination: &str) -> std::io::Result<Client> {
        if self.link != Link::Loopback {
            return self.site.try_connect(source, destination);
        }
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        if self.senders.lock().unwrap_or_else(PoisonError::into_inner).insert(source) {
            self.site.gate.add_address("lo", Ipv6Net::from(source)).unwrap();
        }
        let destination = SocketAddrV6::new(destination, 25, 0, 0);
        Client::connect(Some(&self.site.gate), SocketAddrV6::new(source, 0, 0, 0), destination)
    }

    /// How the kernel runs the program on the link: `native`, `generic`, or `not attached`.
    ///
    /// # Panics
    /// If `ip` fails.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        mode(&self.site.gate, self.link.attachment().0)
    }

    /// That the program answered `sessions` connections, and passed no SYN on to the daemon.
    ///
    /// # Errors
    /// With the counters that are not so.
    pub fn answered(&self, sessions: u64) -> Result<()> {
        let (greeted, reset) = (self.count(&["answer_greeting"]), self.count(&["answer_reset"]));
        // a SYN that is answered with a reset may come again, before the reset has arrived
        let all = greeted == sessions || greeted == 0 && reset >= sessions;
        ensure!(all, "{greeted} of {sessions} sessions were greeted by the program, {reset} reset");
        let passed = self.count(SYNS_PASSED);
        ensure!(passed == 0, "{passed} SYN(s) were passed on");
        Ok(())
    }

    /// Who has answered until now.
    #[must_use]
    pub fn responder(&self) -> Responder {
        match (self.count(&["answer_greeting", "answer_reset"]) > 0, self.count(SYNS_PASSED) > 0) {
            (true, false) => Responder::Kernel,
            (false, true) => Responder::Daemon,
            (true, true) => Responder::Both,
            (false, false) => Responder::None,
        }
    }

    /// The counters that are not 0.
    #[must_use]
    pub fn raised(&self) -> String {
        let stats = self.site.sixgate("stats");
        let value = |line: &str| line.split_whitespace().nth(1).map(str::to_owned);
        let raised = stats.lines().filter(|line| value(line).is_some_and(|value| value != "0"));
        raised.collect::<Vec<_>>().join("\n")
    }

    fn count(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| self.site.counter(name)).sum()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if self.lent.is_some() {
            // a card outlives the site: the program must not stay on it until the kernel has
            // cleaned up
            let _ = self.site.run("detach");
        }
    }
}

/// How the kernel runs an XDP program on `interface` of `netns`.
///
/// # Panics
/// If `ip` fails.
#[must_use]
pub fn mode(netns: &Netns, interface: &str) -> &'static str {
    let shown = netns.ip(&format!("link show dev {interface}")).unwrap();
    match shown.split_whitespace().find(|word| word.starts_with("xdp")) {
        Some("xdp") => "native",
        Some("xdpgeneric") => "generic",
        _ => "not attached",
    }
}

/// A script whose sessions are all refused from their first packet.
#[derive(Debug)]
pub struct Refused {
    /// Where it is written.
    pub path: PathBuf,
    script: Script,
    reasons: Vec<Reason>,
}

/// All of them.
///
/// # Panics
/// If a script cannot be read, or there are fewer than there have to be.
#[must_use]
pub fn refused_scripts() -> Vec<Refused> {
    let scripts: Vec<Refused> = ["promise", "styles", "refused"]
        .iter()
        .flat_map(|name| scripts(&folder(name)))
        .filter_map(|path| {
            let script = Script::read(&path).unwrap();
            let reasons: Option<Vec<Reason>> = Facts::refusals(&script).unwrap().into_iter().collect();
            Some(Refused { path, script, reasons: reasons? })
        })
        .collect();
    assert!(scripts.len() >= SCRIPTS_LEAST, "only {} scripts", scripts.len());
    scripts
}

impl Refused {
    /// Plays it over `link`: every reply as it is written, and all by the program.
    ///
    /// # Errors
    /// With the step that did not go as it is written, the counters and the daemon's log.
    pub fn play(&self, link: Link) -> Result<()> {
        let Self { script, reasons, .. } = self;
        let scene = Scene::new(link, &script.zone, &script.settings)?;
        for command in &script.setup {
            scene.site.sixgate(command);
        }
        let daemon = scene.site.try_serve(&[])?;
        let connections = script.steps.iter().filter_map(|(_, step)| match step {
            Step::Connect { source, .. } => Some(source),
            _ => None,
        });
        for (source, reason) in connections.zip(reasons) {
            if *reason == Reason::NoPtr {
                scene.site.sixgate(&format!("ptr set {source} absent"));
            }
        }
        play(script, &|source, destination| scene.connect(source, destination))
            .and_then(|()| scene.answered(reasons.len() as u64))
            .with_context(|| format!("--- counters\n{}\n--- log\n{}---", scene.raised(), daemon.log()))?;
        daemon.stop()?;
        Ok(())
    }
}

/// Counters of SYNs that the host's TCP got, and so the daemon.
const SYNS_PASSED: &[&str] = &[
    "pass_checksum",
    "pass_not_ready",
    "pass_not_ours",
    "pass_opted_in",
    "pass_trusted",
    "shadow_no_ptr",
    "shadow_not_opted_in",
    "tag_no_ptr",
    "tag_not_opted_in",
];
/// So many scripts there are at least: none is left out by mistake.
const SCRIPTS_LEAST: usize = 14;
