//! VLANs: what was asked with a tag is answered with it, by the program and by the daemon; what was
//! asked without is answered without.

use anyhow::{Result, ensure};

use super::{
    SUITE,
    hosts::{Above, Ends, HostPair, PLAIN, Topology, VLAN},
    watch::Watch,
};
use crate::{
    scene::Responder,
    vm::{
        explained,
        report::{Case, Report},
        session::announced,
    },
};

/// Tries each topology.
pub(super) fn run(report: &Report, filter: &str) -> Result<()> {
    for topology in TOPOLOGIES.iter().filter(|topology| topology.name.contains(filter)) {
        let hosts = HostPair::new(topology);
        let path = match &hosts {
            Ok(hosts) => format!("{}, {}: {}", topology.name, topology.mode, hosts.mode()),
            Err(_) => format!("{}, {}", topology.name, topology.mode),
        };
        for (script, network, served) in [
            ("refused in a VLAN", VLAN, false),
            ("delivered in a VLAN", VLAN, true),
            ("refused without a tag", PLAIN, false),
            ("delivered without a tag", PLAIN, true),
        ] {
            let wanted = match &hosts {
                Ok(hosts) if !served => announced(&hosts.site)?.to_string(),
                _ => Responder::Daemon.to_string(),
            };
            report.case(Case { suite: SUITE, path: &path, script, wanted: &wanted }, || {
                let hosts = hosts.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
                let watch = Watch::new(&hosts.site.outside, "outside0")?;
                let session = || -> Result<String> {
                    let answered = if served { hosts.deliver(&network) } else { hosts.refuse(&network) }?;
                    let (tagged, untagged) = watch.count()?;
                    let (right, wrong) =
                        if network.source == VLAN.source { (tagged, untagged) } else { (untagged, tagged) };
                    ensure!(
                        right > 0 && wrong == 0,
                        "answered in the wrong network, by the {answered}: {tagged} segments with a tag, \
                         {untagged} without"
                    );
                    let answered = answered.to_string();
                    ensure!(answered == wanted, "status names the {wanted}, and the {answered} answered");
                    Ok(answered)
                };
                explained(session(), || hosts.explain())
            })?;
        }
    }
    Ok(())
}

const fn topology(
    name: &'static str,
    ends: Ends,
    above: Above,
    interfaces: &'static [&'static str],
    mode: &'static str,
) -> Topology {
    Topology { name, ends, above, interfaces, mode }
}

const TOPOLOGIES: &[Topology] = &[
    topology("card", Ends::Cards, Above::Nothing, &["gate0"], "auto"),
    topology("card", Ends::Cards, Above::Nothing, &["gate0"], "generic"),
    topology("veth", Ends::Veth, Above::Nothing, &["gate0"], "native"),
    topology("veth", Ends::Veth, Above::Nothing, &["gate0"], "generic"),
    topology("bond of cards", Ends::Cards, Above::Bond, &["gate0"], "auto"),
    topology("bond of cards", Ends::Cards, Above::Bond, &["gate0"], "generic"),
    topology("slaves of a bond of cards", Ends::Cards, Above::Bond, &["gate1", "gate2"], "auto"),
    topology("slaves of a bond of veths", Ends::Veth, Above::Bond, &["gate1", "gate2"], "native"),
    topology("port of a bridge, card", Ends::Cards, Above::Bridge, &["gate1"], "auto"),
    topology("port of a bridge, veth", Ends::Veth, Above::Bridge, &["gate1"], "native"),
    // over veth, checksums would be unfinished there, and the program passes such frames on
    topology("bridge", Ends::Cards, Above::Bridge, &["gate0"], "generic"),
];
