//! One interface looked at for an administrator: its driver, and the reasons against native mode
//! there, before anything is attached.
//!
//! It attaches nothing. Whether a driver takes the program is known for certain once it runs.

use std::{fs, path::Path};

use super::{
    error::DataplaneError,
    fallback_reason, interface,
    topology::{LinkKind, RunMode},
    vlan,
};

/// An interface, as far as it matters to the XDP program.
#[derive(Clone, Debug)]
pub struct InterfaceReport {
    /// Its name, also where it was asked for by another one.
    pub name: String,
    /// Its index in the kernel.
    pub index: u32,
    /// Its driver, or its kind if it is a virtual one; none if neither is known.
    pub driver: Option<String>,
    /// Octets of the largest packet.
    pub mtu: u32,
    /// Its receive queues.
    pub queues: u32,
    /// Whether it is set up.
    pub is_up: bool,
    /// The mode of the XDP program that runs there, ours or another one.
    pub running: Option<RunMode>,
    /// Why the program could not answer there, or not natively, as a short term.
    pub against_native: Option<String>,
    /// Features that are on and with which drivers refuse native mode, by ethtool's names.
    pub offloads: Vec<String>,
}

/// Looks at the interface of that name, or of that alternative name.
///
/// # Errors
///
/// [`DataplaneError::NoInterface`], [`DataplaneError::System`].
pub fn inspect_interface(name: &str) -> Result<InterfaceReport, DataplaneError> {
    let link = interface::named(name)?;
    let network = interface::all()?;
    let no_ethernet = link.without_ethernet().map(|kind| format!("no Ethernet header (link type {kind})"));
    // a driver that does not tell has none of them, as far as is known
    let features = vlan::features(link.index).unwrap_or_default();
    Ok(InterfaceReport {
        index: link.index,
        driver: driver(&link.name).or_else(|| kind(link.kind).map(str::to_owned)),
        mtu: link.mtu,
        queues: link.queues,
        is_up: link.is_up,
        running: link.running.map(|running| running.mode),
        against_native: no_ethernet.or_else(|| fallback_reason::against_native(&link, &network)),
        offloads: features.into_iter().filter(|name| AGAINST_NATIVE.contains(&name.as_str())).collect(),
        name: link.name,
    })
}

/// The driver's name by sysfs, which shows the interfaces of the network namespace in which it was
/// mounted.
fn driver(interface: &str) -> Option<String> {
    let link = fs::read_link(Path::new("/sys/class/net").join(interface).join("device/driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

const fn kind(kind: LinkKind) -> Option<&'static str> {
    match kind {
        LinkKind::Veth => Some("veth"),
        LinkKind::Vlan => Some("vlan"),
        LinkKind::Bond => Some("bond"),
        LinkKind::Bridge { .. } => Some("bridge"),
        LinkKind::Other => None,
    }
}

/// Packets that the hardware merges are longer than what an XDP program can be given.
const AGAINST_NATIVE: [&str; 2] = ["rx-lro", "rx-gro-hw"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_described() {
        let lo = inspect_interface("lo").unwrap();
        assert_eq!((lo.name.as_str(), lo.index, lo.driver), ("lo", 1, None));
        assert!(lo.mtu > 1000 && lo.offloads.is_empty());
        assert!(matches!(inspect_interface("none0"), Err(DataplaneError::NoInterface { .. })));
    }
}
