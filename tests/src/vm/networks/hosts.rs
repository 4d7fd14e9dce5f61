//! A gate and a client, joined in one of the ways that networks have, with a VLAN beside the
//! untagged network.
//!
//! `gate0` and `outside0` are the uppermost interfaces; what lies below is called `gate1`,
//! `outside1` and so on.

use std::net::SocketAddrV6;

use anyhow::{Context as _, Result, ensure};
use aya::programs::XdpMode;

use super::super::session::{self, ZONE};
use crate::{
    cards::{self, Lent},
    client::Client,
    daemon::Daemon,
    netns::Netns,
    scene::{self, Responder},
    site::{GATE, OTHER, SENDER, Site},
    xdp_helper::Pass,
};

/// What joins the two hosts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ends {
    Cards,
    Veth,
}

/// What lies above it on the gate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Above {
    Nothing,
    /// A bond of two, and another one outside.
    Bond,
    /// A bridge that filters by VLAN, with the one end as its port.
    Bridge,
}

/// How two hosts are joined, and where the program is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topology {
    pub(super) name: &'static str,
    pub(super) ends: Ends,
    pub(super) above: Above,
    /// The program's interfaces.
    pub(super) interfaces: &'static [&'static str],
    pub(super) mode: &'static str,
}

/// The two hosts, a daemon on the gate.
pub(super) struct HostPair {
    pub(super) daemon: Daemon,
    pub(super) site: Site,
    lent: Option<Lent>,
    _passes: Vec<Pass>,
    interface: &'static str,
}

impl HostPair {
    /// Joins the hosts and starts the daemon. 2001:db8:25::/64 is the untagged network,
    /// 2001:db8:26::/64 is VLAN 100; in each of them ::25 has opted in and ::99 has not.
    pub(super) fn new(topology: &Topology) -> Result<Self> {
        let mut lent = None;
        let site = Site::joined_by(ZONE, "", |gate, outside| {
            lent = join(topology, gate, outside)?;
            Ok(())
        });
        let settings =
            format!("xdp = {{ interfaces = {:?}, mode = {:?} }}", topology.interfaces, topology.mode);
        let site = site.configured(&settings);
        add_vlan(&site)?;
        for command in ["optin add 2001:db8:25::25", "optin add 2001:db8:26::25", "domain add contoso.com"] {
            site.sixgate(command);
        }
        for net in ["2001:db8:25::/64", "2001:db8:26::/64"] {
            site.sixgate(&format!("guard add {net}"));
        }
        let passes = if topology.ends == Ends::Veth && topology.mode == "native" {
            below(topology.above, "outside")
                .iter()
                .map(|name| Pass::attach(&site.outside, name, XdpMode::Driver))
                .collect::<Result<_>>()?
        } else {
            Vec::new()
        };
        let daemon = site.try_serve(&[])?;
        let interface = topology.interfaces.first().copied().unwrap_or_default();
        Ok(Self { daemon, site, lent, _passes: passes, interface })
    }

    /// How the program runs.
    pub(super) fn mode(&self) -> &'static str {
        scene::mode(&self.site.gate, self.interface)
    }

    /// A refused session to the network; who answered.
    pub(super) fn refuse(&self, network: &Network) -> Result<Responder> {
        let before = self.greeted();
        session::refuse(self.connect(network, network.refused)?)?;
        Ok(if self.greeted() > before { Responder::Kernel } else { Responder::Daemon })
    }

    /// A session to the network that is served.
    pub(super) fn deliver(&self, network: &Network) -> Result<Responder> {
        let before = self.greeted();
        session::deliver(self.connect(network, network.opted_in)?, &self.site)?;
        ensure!(self.greeted() == before, "the program greeted a session of an address that has opted in");
        Ok(Responder::Daemon)
    }

    /// The counters that are not 0 and the daemon's log: for a case that failed.
    pub(super) fn explain(&self) -> String {
        let stats = String::from_utf8_lossy(&self.site.run("stats").stdout).into_owned();
        let raised = stats.lines().filter(|line| !line.split_whitespace().any(|word| word == "0"));
        let status = self.site.run("status");
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        let raised: Vec<&str> = raised.collect();
        format!("--- counters\n{}\n--- status\n{status}\n--- log\n{}", raised.join("\n"), self.daemon.log())
    }

    fn connect(&self, network: &Network, destination: &str) -> Result<Client> {
        if network.source == SENDER {
            return Ok(self.site.try_connect(SENDER, destination)?);
        }
        let address = |text: &str, port| Ok::<_, anyhow::Error>(SocketAddrV6::new(text.parse()?, port, 0, 0));
        Ok(Client::connect(Some(&self.site.outside), address(network.source, 0)?, address(destination, 25)?)?)
    }

    fn greeted(&self) -> u64 {
        // nothing is attached where every attempt failed
        let stats = self.site.run("stats --json");
        if stats.status.success() { self.site.counter("answer_greeting") } else { 0 }
    }
}

impl Drop for HostPair {
    fn drop(&mut self) {
        if self.lent.is_some() {
            // a card outlives the site: the program must not stay on it until the kernel has
            // cleaned up
            let _ = self.site.run("detach");
        }
    }
}

/// A network in which the two hosts meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Network {
    pub(super) source: &'static str,
    pub(super) opted_in: &'static str,
    pub(super) refused: &'static str,
}

/// The untagged one.
pub(super) const PLAIN: Network = Network { source: SENDER, opted_in: GATE, refused: OTHER };
/// The network in VLAN 100.
pub(super) const VLAN: Network =
    Network { source: "2001:db8:26::4", opted_in: "2001:db8:26::25", refused: "2001:db8:26::99" };

/// Makes gate0 and outside0.
fn join(topology: &Topology, gate: &Netns, outside: &Netns) -> Result<Option<Lent>> {
    let (near, far) = (below(topology.above, "gate"), below(outside_above(topology.above), "outside"));
    let lent = match topology.ends {
        Ends::Cards => {
            let pairs = near.iter().zip(far).flat_map(|(near, far)| [(gate, *near), (outside, *far)]);
            Some(cards::lend(&pairs.collect::<Vec<_>>())?)
        }
        Ends::Veth => {
            near.iter().zip(far).try_for_each(|(near, far)| gate.join(near, outside, far))?;
            None
        }
    };
    match topology.above {
        Above::Nothing => {}
        Above::Bond => {
            bond(gate, "gate0", near)?;
            bond(outside, "outside0", far)?;
        }
        Above::Bridge => {
            gate.ip("link add gate0 type bridge vlan_filtering 1")?;
            gate.ip("link set gate1 master gate0")?;
            gate.ip("link set gate0 up")?;
            for hosts in ["dev gate1", "dev gate0 self"] {
                gate.tool("bridge", &format!("vlan add vid 100 {hosts}"))?;
            }
        }
    }
    Ok(lent)
}

/// The ends of the wires on one host.
fn below(above: Above, host: &str) -> &'static [&'static str] {
    match (above, host) {
        (Above::Nothing, "gate") => &["gate0"],
        (Above::Nothing, _) => &["outside0"],
        (Above::Bond, "gate") => &["gate1", "gate2"],
        (Above::Bond, _) => &["outside1", "outside2"],
        (Above::Bridge, "gate") => &["gate1"],
        (Above::Bridge, _) => &["outside0"],
    }
}

fn outside_above(above: Above) -> Above {
    if above == Above::Bond { above } else { Above::Nothing }
}

fn bond(netns: &Netns, name: &str, slaves: &[&str]) -> Result<()> {
    netns.ip(&format!("link add {name} type bond mode active-backup miimon 100"))?;
    for slave in slaves {
        netns.ip(&format!("link set {slave} down"))?;
        netns.ip(&format!("link set {slave} master {name}")).with_context(|| format!("{slave} in {name}"))?;
    }
    netns.ip(&format!("link set {name} up")).map(drop)
}

/// VLAN 100 on both hosts.
fn add_vlan(site: &Site) -> Result<()> {
    for (netns, below, addresses) in [
        (&site.gate, "gate0", &[VLAN.opted_in, VLAN.refused][..]),
        (&site.outside, "outside0", &[VLAN.source][..]),
    ] {
        let name = format!("{below}.100");
        netns.ip(&format!("link add link {below} name {name} type vlan id 100"))?;
        netns.ip(&format!("link set {name} up"))?;
        for address in addresses {
            netns.add_address(&name, format!("{address}/64").parse()?)?;
        }
    }
    Ok(())
}
