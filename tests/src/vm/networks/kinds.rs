//! Kinds of interfaces: those without an Ethernet header are named as such, others are attached,
//! with any name.

use anyhow::{Context as _, Result, ensure};

use super::SUITE;
use crate::{
    site::Site,
    vm::{
        report::{Case, Report},
        session,
    },
};

/// Tries each kind.
pub(super) fn run(report: &Report) -> Result<()> {
    for (interface, make) in WITHOUT_ETHERNET {
        let case = Case { suite: SUITE, path: interface, script: "attach", wanted: "named" };
        report.case(case, || {
            let site = Site::new(session::ZONE, "");
            site.gate.ip(make)?;
            site.gate.ip(&format!("link set dev {interface} up"))?;
            let (_, text) = attach(&site, interface);
            ensure!(text.contains("Ethernet"), "attach names no reason: {text}");
            // mail first: the daemon serves, and reports the same
            let site = site.configured(&format!("xdp = {{ interfaces = [{interface:?}] }}"));
            let daemon = site.try_serve(&[])?;
            let status = String::from_utf8_lossy(&site.run("status").stdout).into_owned();
            ensure!(status.contains("Ethernet"), "status names no reason: {status}\n{}", daemon.log());
            Ok("named".to_owned())
        })?;
    }
    for (path, name, make) in WITH_ETHERNET {
        let case = Case { suite: SUITE, path, script: "attach", wanted: "attached" };
        report.case(case, || {
            let site = Site::new(session::ZONE, "");
            for command in make.split("; ") {
                site.gate.ip(command)?;
            }
            let (succeeded, text) = attach(&site, name);
            ensure!(succeeded, "attach failed: {text}");
            let status = site.sixgate("status");
            let line =
                status.lines().find(|line| line.starts_with("interface ")).context("nothing attached")?;
            ensure!(line.contains("native") || line.contains("generic"), "status: {status}");
            Ok("attached".to_owned())
        })?;
    }
    Ok(())
}

/// Whether `attach` succeeded, and all that it printed.
fn attach(site: &Site, interface: &str) -> (bool, String) {
    let output = site.run(&format!("attach --iface {interface}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

const WITHOUT_ETHERNET: &[(&str, &str)] = &[
    ("tun0", "tuntap add dev tun0 mode tun"),
    ("wg0", "link add wg0 type wireguard"),
    ("sit1", "link add sit1 type sit local 192.0.2.1 remote 192.0.2.2"),
];
/// Title, name for `attach`, how it is made.
const WITH_ETHERNET: &[(&str, &str, &str)] = &[
    ("dummy0", "dummy0", "link add dummy0 type dummy; link set dummy0 up"),
    ("veth by an alternative name", "enp3s0f0-of-the-gate", ALTERNATIVE),
];
const ALTERNATIVE: &str = "link property add dev gate0 altname enp3s0f0-of-the-gate";
