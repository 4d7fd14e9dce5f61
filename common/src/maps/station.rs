//! STATIONS: which Ethernet addresses the frames for this host carry, interface by interface.
//!
//! A network card hands on frames for other hosts too: in promiscuous mode, as a bridge port, when
//! a switch floods them. The host's TCP leaves those alone (net/ipv6/ip6_input.c, `ip6_rcv_core`:
//! PACKET_OTHERHOST), and so must the XDP program, which does not see the mark.

/// Key of STATIONS: an interface and a destination address of frames.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StationKey {
    /// The index of the interface on which frames arrive, in the machine's order.
    pub ifindex: u32,
    /// The Ethernet address, as frames carry it.
    pub mac: [u8; 6],
    /// Keeps the size a multiple of four without padding; always 0.
    pub reserved: [u8; 2],
}

/// Value of STATIONS.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StationEntry {
    /// A combination of the `STATION_` constants.
    pub flags: u32,
    /// The Ethernet address at the other end of the interface, if [`STATION_KEEPS_MARKS`] is set
    /// and it is known; else 0. Frames from there have not been on any other link.
    pub peer: [u8; 6],
    /// Keeps the size a multiple of four without padding; always 0.
    pub reserved: [u8; 2],
}

/// The program may answer frames to this station itself. Without it the program only tags, and the
/// daemon answers.
pub const STATION_ANSWERS: u32 = 1;
/// The program runs in generic mode there: a frame that is answered keeps the kernel's mark of an
/// unfinished checksum (CHECKSUM_PARTIAL, include/linux/skbuff.h). Only the link's other end is
/// known not to act on it.
pub const STATION_KEEPS_MARKS: u32 = 2;
/// The program runs natively there, in a driver that hands on no such mark with a frame that is
/// answered: the answer's checksum is complete, wherever the sender left its own for a device.
pub const STATION_LOSES_MARKS: u32 = 4;

const _: () = assert!(size_of::<StationKey>() == 12 && align_of::<StationKey>() == 4);
const _: () = assert!(size_of::<StationEntry>() == 12 && align_of::<StationEntry>() == 4);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, an integer and octets, no padding (size asserted): every bit pattern is valid.
unsafe impl aya::Pod for StationKey {}
#[cfg(feature = "user")]
// SAFETY: `repr(C)`, an integer and octets, no padding (size asserted): every bit pattern is valid.
unsafe impl aya::Pod for StationEntry {}
