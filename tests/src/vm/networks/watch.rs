//! Counts what a host receives from port 25, with a VLAN tag and without: a packet socket with a
//! filter (Documentation/networking/filter.rst).
//!
//! It sees what came in by one interface, before the host's VLAN interfaces have taken the tag.

use std::io::{ErrorKind, Read as _};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use crate::netns::Netns;

/// A count that goes on.
#[derive(Debug)]
pub(super) struct Watch {
    tagged: Socket,
    untagged: Socket,
}

impl Watch {
    /// Begins on `interface` of `netns`.
    pub(super) fn new(netns: &Netns, interface: &str) -> Result<Self> {
        let index = netns.ip(&format!("-oneline link show dev {interface}"))?;
        let index = index.split(':').next().and_then(|index| index.trim().parse().ok());
        let index = index.with_context(|| format!("ip names no index of {interface}"))?;
        netns.run(|| Ok(Self { tagged: open(index, true)?, untagged: open(index, false)? }))
    }

    /// TCP segments from port 25 since the last time: with a tag, and without.
    pub(super) fn count(&self) -> Result<(usize, usize)> {
        Ok((count(&self.tagged)?, count(&self.untagged)?))
    }
}

fn open(index: u32, tagged: bool) -> Result<Socket> {
    // no protocol: nothing comes before the filter is there
    let all = Protocol::from(i32::from(ETH_P_ALL.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(all)).context("cannot open a packet socket")?;
    socket.attach_filter(&filter(index, tagged)).context("cannot attach a filter")?;
    socket.set_nonblocking(true)?;
    count(&socket)?;
    Ok(socket)
}

fn count(mut socket: &Socket) -> Result<usize> {
    let mut frames = 0;
    loop {
        match socket.read(&mut [0; 2048]) {
            Ok(_) => frames += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(frames),
            Err(error) => return Err(error).context("cannot read from a packet socket"),
        }
    }
}

/// Takes TCP over IPv6 from port 25 that came in by the interface `index`, with a tag or without.
fn filter(index: u32, tagged: bool) -> [SockFilter; 12] {
    let load = |offset| SockFilter::new(LOAD_WORD, 0, 0, offset);
    let half = |offset| SockFilter::new(LOAD_HALF, 0, 0, offset);
    let octet = |offset| SockFilter::new(LOAD_OCTET, 0, 0, offset);
    // so many instructions are left until the last one, which drops
    let equal = |value, left| SockFilter::new(JUMP_EQUAL, 0, left, value);
    [
        load(INTERFACE),
        equal(index, 9),
        load(TAG_PRESENT),
        equal(u32::from(tagged), 7),
        half(12),
        equal(0x86dd, 5),
        octet(20),
        equal(6, 3),
        half(54),
        equal(25, 1),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

const ETH_P_ALL: u16 = 3;
const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_OCTET: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
/// What stands beside a frame (include/uapi/linux/filter.h): SKF_AD_OFF with SKF_AD_IFINDEX and
/// SKF_AD_VLAN_TAG_PRESENT.
const INTERFACE: u32 = -4096_i32 as u32 + 8;
const TAG_PRESENT: u32 = -4096_i32 as u32 + 48;
