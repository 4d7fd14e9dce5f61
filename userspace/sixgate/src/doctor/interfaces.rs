//! The interfaces on which the XDP program is to run, its pins and its maps.
//!
//! The attached links, and whether the maps agree with the store, are the status of `control`, the
//! same that `sixgate status` prints.

use sixgate_dataplane::{DataplaneError, InterfaceReport, Pins, inspect_interface, occupant};

use super::report::{CheckOutcome, CheckReport};
use crate::{
    config::Config,
    control::{Control, Status},
    kernel_facts::KernelFacts,
};

/// Packets longer than this do not fit into the page that most drivers give a native program.
const NATIVE_MTU_MAX: u32 = 3500;

/// Interfaces, pins and maps. Blocks.
pub(super) fn check(config: &Config, control: &Control) -> Vec<CheckReport> {
    let mut reports = vec![file_system(config)];
    let status = match KernelFacts::new(config, control).status(false) {
        Ok(status) => status,
        Err(error) => {
            let reason = format!("{:#}", anyhow::Error::new(error));
            reports.push(CheckReport::not_checked("xdp.interface", reason));
            return reports;
        }
    };
    if config.xdp.interfaces.is_empty() {
        reports.push(CheckReport::warning(
            "xdp.interface",
            "no interface is configured: the daemon refuses by itself, and not the XDP program",
            "set interfaces = [\"INTERFACE\"] in [xdp], then: sixgate reload",
        ));
    }
    let interfaces = config.xdp.interfaces.iter();
    reports.extend(interfaces.map(|name| interface(name.as_str(), &status).about(name.as_str())));
    reports.push(maps(&status));
    reports
}

/// The bpf file system for the pins.
fn file_system(config: &Config) -> CheckReport {
    let id = "xdp.bpffs";
    let path = config.xdp.bpffs.display();
    let report = match Pins::new(&config.xdp.bpffs).check_file_system() {
        Ok(()) => CheckReport::ok(id, "it is on a bpf file system"),
        Err(DataplaneError::NoBpffs { mount, .. }) => {
            let outcome = match config.xdp.interfaces.is_empty() {
                true => CheckOutcome::Warning,
                false => CheckOutcome::Error,
            };
            CheckReport::sentence(id, outcome, "it is not on a bpf file system")
                .cured_by(format!("mount -t bpf bpf {}", mount.display()))
        }
        Err(error @ DataplaneError::NoRights { .. }) => CheckReport::not_checked(id, error.to_string()),
        Err(error) => CheckReport::sentence(id, CheckOutcome::Error, error.to_string()),
    };
    report.about(path)
}

fn interface(name: &str, status: &Status) -> CheckReport {
    let id = "xdp.interface";
    let found = match inspect_interface(name) {
        Ok(found) => found,
        Err(error @ DataplaneError::NoInterface { .. }) => {
            return CheckReport::error(id, error.to_string(), "ip -brief link, then set interfaces in [xdp]");
        }
        Err(error) => return CheckReport::not_checked(id, format!("{:#}", anyhow::Error::new(error))),
    };
    let facts = facts(&found);
    let ours = status.interfaces.iter().find(|attached| attached.name == found.name);
    if let Some(attached) = ours
        && let Some(mode) = &attached.mode
    {
        return match &attached.fallback {
            Some(reason) => CheckReport::warning(
                id,
                format!("{facts}; {mode} mode, and the daemon answers refused senders: {reason}"),
                format!("sixgate detach --iface {name} && sixgate attach --iface {name} --mode generic"),
            ),
            None => {
                judge_mode(&found, format!("{facts}; the XDP program runs in {mode} mode"), mode == "generic")
            }
        };
    }
    match occupant(name) {
        Ok(Some(DataplaneError::Occupied { program, remedy, .. })) => CheckReport::error(
            id,
            format!("{facts}; another XDP program (id {program}) runs there"),
            remedy.replace('`', ""),
        ),
        Ok(Some(error)) => CheckReport::sentence(id, CheckOutcome::Error, format!("{facts}; {error}")),
        Err(error) => CheckReport::not_checked(id, format!("{facts}; {error}")),
        Ok(None) if !found.is_up => {
            CheckReport::warning(id, format!("{facts}; it is down"), format!("ip link set dev {name} up"))
        }
        Ok(None) => judge_mode(&found, format!("{facts}; the XDP program is not attached yet"), true),
    }
}

/// Its driver and sizes, for people.
fn facts(found: &InterfaceReport) -> String {
    let driver = found.driver.as_deref().unwrap_or("unknown");
    let queues = if found.queues == 1 { "queue" } else { "queues" };
    format!("driver {driver}, MTU {}, {} {queues}", found.mtu, found.queues)
}

/// What keeps the driver from running the program; `matters`: unless it runs it already.
fn judge_mode(found: &InterfaceReport, text: String, matters: bool) -> CheckReport {
    let (id, name) = ("xdp.interface", &found.name);
    if !matters {
        return CheckReport::ok(id, text);
    }
    if let [offload, ..] = found.offloads.as_slice() {
        return CheckReport::warning(
            id,
            format!("{text}; {offload} is on, with which drivers refuse native mode"),
            format!("ethtool -K {name} {offload} off"),
        );
    }
    if found.mtu > NATIVE_MTU_MAX {
        return CheckReport::warning(
            id,
            format!("{text}; most drivers refuse native mode with an MTU above {NATIVE_MTU_MAX}"),
            format!("ip link set dev {name} mtu 1500"),
        );
    }
    match &found.against_native {
        Some(reason) => CheckReport::ok(id, format!("{text}; not native: {reason}")),
        None => CheckReport::ok(id, text),
    }
}

/// Whether the maps hold what the store has.
fn maps(status: &Status) -> CheckReport {
    let id = "xdp.maps";
    if !status.pins_readable {
        return CheckReport::not_checked(id, "this user may not look at the pins");
    }
    if !status.attached {
        return CheckReport::not_checked(id, "the XDP program is not attached");
    }
    match status.agrees() {
        true => CheckReport::ok(id, "they agree with the store"),
        false => CheckReport::error(id, "they differ from the store, or are not ready", "sixgate attach"),
    }
}
