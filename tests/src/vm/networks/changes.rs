//! Interfaces that change below a running daemon: down and up, another MTU, another name, deleted
//! and made anew. The program is there again within seconds, and no session is lost meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::programs::XdpMode;

use super::{
    SUITE,
    hosts::{Above, Ends, HostPair, PLAIN, Topology},
};
use crate::{
    scene::Responder,
    site::{GATE, INTERFACE, OTHER, PEER},
    timeouts::scaled,
    vm::{
        explained,
        report::{Case, Report},
    },
    xdp_helper::Pass,
};

/// Tries each change on a link of its own, and then that the program answers.
pub(super) fn run(report: &Report) -> Result<()> {
    for topology in [&CARD, &VETH] {
        for Change { script, make, on } in CHANGES {
            if on.is_some_and(|ends| ends != topology.ends) {
                continue;
            }
            let case = Case { suite: SUITE, path: topology.name, script, wanted: "kernel" };
            report.case(case, || {
                let hosts = HostPair::new(topology)?;
                let done = || -> Result<String> {
                    ensure!(
                        hosts.refuse(&PLAIN)? == Responder::Kernel,
                        "before the change the daemon answers"
                    );
                    let _kept = make(&hosts)?;
                    wait_for_kernel(&hosts)?;
                    hosts.deliver(&PLAIN)?;
                    let status = hosts.site.run("status");
                    ensure!(status.status.success(), "status ends with {}", status.status);
                    Ok("kernel".to_owned())
                };
                explained(done(), || hosts.explain())
            })?;
        }
    }
    Ok(())
}

struct Change {
    script: &'static str,
    /// Makes it; what is returned has to stay.
    make: fn(&HostPair) -> Result<Option<Pass>>,
    /// Where it can be made.
    on: Option<Ends>,
}

const CHANGES: &[Change] = &[
    Change { script: "down and up", make: down_and_up, on: None },
    Change { script: "MTU 1280", make: |hosts| mtu(hosts, 1280), on: None },
    Change { script: "MTU 3000", make: |hosts| mtu(hosts, 3000), on: None },
    Change { script: "renamed", make: renamed, on: None },
    Change { script: "deleted and made anew", make: made_anew, on: Some(Ends::Veth) },
];

fn down_and_up(hosts: &HostPair) -> Result<Option<Pass>> {
    hosts.site.gate.ip(&format!("link set dev {INTERFACE} down"))?;
    hosts.site.gate.ip(&format!("link set dev {INTERFACE} up"))?;
    readdress(hosts, INTERFACE)?;
    Ok(None)
}

fn mtu(hosts: &HostPair, mtu: u32) -> Result<Option<Pass>> {
    hosts.site.gate.ip(&format!("link set dev {INTERFACE} mtu {mtu}"))?;
    hosts.site.outside.ip(&format!("link set dev {PEER} mtu {mtu}"))?;
    Ok(None)
}

/// To another name and back: the daemon has to follow twice.
fn renamed(hosts: &HostPair) -> Result<Option<Pass>> {
    for (from, to) in [(INTERFACE, "mx0"), ("mx0", INTERFACE)] {
        hosts.site.gate.ip(&format!("link set dev {from} down"))?;
        hosts.site.gate.ip(&format!("link set dev {from} name {to}"))?;
        hosts.site.gate.ip(&format!("link set dev {to} up"))?;
        readdress(hosts, to)?;
        wait_for_kernel(hosts).with_context(|| format!("renamed from {from} to {to}"))?;
    }
    Ok(None)
}

fn made_anew(hosts: &HostPair) -> Result<Option<Pass>> {
    let (gate, outside) = (&hosts.site.gate, &hosts.site.outside);
    gate.ip(&format!("link delete dev {INTERFACE}"))?;
    gate.join(INTERFACE, outside, PEER)?;
    let pass = Pass::attach(outside, PEER, XdpMode::Driver)?;
    readdress(hosts, INTERFACE)?;
    for address in ["fe80::51/64", "2001:db8:51::4/64"] {
        outside.add_address(PEER, address.parse()?)?;
    }
    outside.ip(&format!("route replace 2001:db8:25::/64 dev {PEER}"))?;
    Ok(Some(pass))
}

/// An interface that was down has lost its addresses and routes.
fn readdress(hosts: &HostPair, interface: &str) -> Result<()> {
    for address in [GATE, OTHER] {
        hosts.site.gate.ip(&format!("address replace {address}/64 dev {interface} nodad"))?;
    }
    hosts.site.gate.ip(&format!("route replace 2001:db8:51::/64 via fe80::51 dev {interface}")).map(drop)
}

/// Sessions until the program answers one; each has the right replies, from either side.
fn wait_for_kernel(hosts: &HostPair) -> Result<()> {
    let until = Instant::now() + scaled(NOTICED_WITHIN);
    let mut sessions = 0;
    loop {
        let over = Instant::now() >= until;
        sessions += 1;
        if hosts.refuse(&PLAIN)? == Responder::Kernel {
            return Ok(());
        }
        ensure!(!over, "{sessions} sessions were answered by the daemon");
    }
}

/// The daemon notices a change by netlink.
const NOTICED_WITHIN: Duration = Duration::from_secs(3);
const CARD: Topology = Topology {
    name: "card",
    ends: Ends::Cards,
    above: Above::Nothing,
    interfaces: &[INTERFACE],
    mode: "auto",
};
/// In native mode the VLAN above would make the daemon answer.
const VETH: Topology = Topology { name: "veth", ends: Ends::Veth, mode: "generic", ..CARD };
