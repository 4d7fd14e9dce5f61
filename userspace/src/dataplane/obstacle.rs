//! What keeps the program from answering refused senders by itself, so that the daemon has to.
//!
//! It decides nothing about what is done then.

use std::fmt;

use super::{
    error::DataplaneError,
    interface::{Interface, Peer, RunMode},
    pins::{PinSet, Pins},
    vlan,
};

/// Why the program cannot answer by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Obstacle {
    /// The kernel lacks what answering needs.
    Kernel {
        /// What is missing, as far as the kernel says.
        lacks: String,
    },
    /// The program runs natively on one end of a veth pair, and none does on the other: the kernel takes what is sent
    /// by XDP_TX and never delivers it (drivers/net/veth.c, `veth_xdp_flush`).
    Peer {
        /// Our end's name.
        interface: String,
        /// What is seen of the other end.
        why: PeerLacks,
    },
    /// The program runs natively on an interface that strips VLAN tags and has VLAN interfaces above it: answers would
    /// leave without a tag, into another network.
    Tags {
        /// The interface's name.
        interface: String,
    },
}

/// What is wrong with the other end of a veth pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PeerLacks {
    /// No native XDP program runs there.
    Program,
    /// It cannot be looked at.
    Sight,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel { lacks } => write!(f, "this kernel lacks {lacks}"),
            Self::Peer { interface, why } => write!(f, "{interface}: {why}"),
            Self::Tags { interface } => {
                write!(
                    f,
                    "{interface}: its VLAN tags are stripped, answers would leave without (ethtool's rxvlan)"
                )
            }
        }
    }
}

impl fmt::Display for PeerLacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Program => "its peer runs no XDP program, answers would be lost",
            Self::Sight => "its peer cannot be looked at, answers may be lost",
        })
    }
}

/// What keeps the attached program from answering on its interfaces, one obstacle for each at most; an interface that is
/// gone has none.
///
/// # Errors
///
/// [`DataplaneError::NoRights`], [`DataplaneError::System`].
pub fn obstacles(pins: &Pins) -> Result<Vec<Obstacle>, DataplaneError> {
    match pins.live()? {
        Some(live) => of_links(&live),
        None => Ok(Vec::new()),
    }
}

pub(super) fn of_links(live: &PinSet) -> Result<Vec<Obstacle>, DataplaneError> {
    let mut found = Vec::new();
    for name in live.interfaces()? {
        let interface = match Interface::named(&name) {
            Err(DataplaneError::NoInterface { .. }) => continue,
            interface => interface?,
        };
        if interface.running()?.is_some_and(|running| running.mode == RunMode::Native) {
            found.extend(of_native(&interface)?);
        }
    }
    Ok(found)
}

fn of_native(interface: &Interface) -> Result<Option<Obstacle>, DataplaneError> {
    let name = || interface.name.clone();
    if let Some(why) = native(interface)? {
        return Ok(Some(Obstacle::Peer { interface: name(), why }));
    }
    // who does not say it may do it
    let strips_tags = vlan::strips_tags(interface.index).unwrap_or(true);
    let loses_tags = strips_tags && interface.has_vlans()?;
    Ok(loses_tags.then(|| Obstacle::Tags { interface: name() }))
}

/// What keeps answers that the program sends natively on `interface` from arriving.
pub(super) fn native(interface: &Interface) -> Result<Option<PeerLacks>, DataplaneError> {
    Ok(match interface.peer()? {
        None | Some(Peer::Native) => None,
        Some(Peer::Plain) => Some(PeerLacks::Program),
        Some(Peer::Unseen) => Some(PeerLacks::Sight),
    })
}
