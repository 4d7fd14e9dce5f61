//! STATIONS: the Ethernet addresses of this host on the interfaces where the program runs.
//!
//! Which these are is the caller's business.

use std::collections::BTreeMap;

use sixgate_common::{
    names::{self, STATIONS_ENTRIES},
    station::{STATION_ANSWERS, STATION_KEEPS_MARKS, STATION_LOSES_MARKS, StationEntry, StationKey},
};

use super::{
    error::{DataplaneError, is_absent},
    maps::Maps,
};

/// An Ethernet address of this host, as it is seen on one interface. Frames to others are passed on
/// untouched.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Station {
    /// The index of the interface where frames arrive.
    pub ifindex: u32,
    /// The address to which they are sent.
    pub mac: [u8; 6],
}

/// The rights of the program on frames to a station.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StationUse {
    /// It may answer by itself.
    pub answers: bool,
    /// What becomes of the kernel's mark of an unfinished checksum.
    pub marks: Marks,
    /// The Ethernet address of the link's other end, if it is known: a veth pair's, or that of the
    /// loopback interface.
    pub peer: Option<[u8; 6]>,
}

/// What becomes of the kernel's mark of an unfinished checksum (CHECKSUM_PARTIAL,
/// include/linux/skbuff.h) when the program answers a frame that has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Marks {
    /// It stays with the answer: the program runs in generic mode. A SYN that has it is answered
    /// only if it comes from the link's other end.
    Kept,
    /// It is lost: the program runs natively on a veth.
    Lost,
    /// It may stay with some answers: the program runs natively on another interface, such as a tap
    /// (drivers/net/tun.c, `tun_get_user`).
    Unknown,
}

impl From<StationUse> for StationEntry {
    fn from(StationUse { answers, marks, peer }: StationUse) -> Self {
        let answers = if answers { STATION_ANSWERS } else { 0 };
        let marks = match marks {
            Marks::Kept => STATION_KEEPS_MARKS,
            Marks::Lost => STATION_LOSES_MARKS,
            Marks::Unknown => 0,
        };
        Self { flags: answers | marks, peer: peer.unwrap_or(UNKNOWN), reserved: [0; 2] }
    }
}

impl From<StationEntry> for StationUse {
    fn from(StationEntry { flags, peer, .. }: StationEntry) -> Self {
        Self {
            answers: flags & STATION_ANSWERS != 0,
            marks: match flags & (STATION_KEEPS_MARKS | STATION_LOSES_MARKS) {
                0 => Marks::Unknown,
                STATION_LOSES_MARKS => Marks::Lost,
                _ => Marks::Kept,
            },
            peer: (peer != UNKNOWN).then_some(peer),
        }
    }
}

impl Maps {
    /// Makes the map hold exactly the stations that are wanted: adds and changes before it removes.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::StationsFull`] beyond [`STATIONS_ENTRIES`]; [`DataplaneError::Map`].
    pub fn set_stations(&mut self, wanted: &BTreeMap<Station, StationUse>) -> Result<(), DataplaneError> {
        if wanted.len() > STATIONS_ENTRIES as usize {
            return Err(DataplaneError::StationsFull { wanted: wanted.len() });
        }
        let found = self.stations()?;
        let surplus: Vec<Station> =
            found.keys().filter(|station| !wanted.contains_key(station)).copied().collect();
        // entries to be removed may be in the way of those to be added: a station that is missing
        // meanwhile is passed on
        let is_cramped = surplus.len() + wanted.len() > STATIONS_ENTRIES as usize;
        if is_cramped {
            self.remove_stations(&surplus)?;
        }
        for (station, wanted) in wanted {
            if found.get(station) != Some(wanted) {
                self.stations
                    .insert(key(station), StationEntry::from(*wanted), 0)
                    .map_err(|error| DataplaneError::map("write", names::STATIONS, error))?;
            }
        }
        if is_cramped { Ok(()) } else { self.remove_stations(&surplus) }
    }

    /// Every station in the map, and what the program may do there.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn stations(&self) -> Result<BTreeMap<Station, StationUse>, DataplaneError> {
        self.stations
            .iter()
            .map(|entry| {
                let (key, entry) =
                    entry.map_err(|error| DataplaneError::map("read", names::STATIONS, error))?;
                let station = Station { ifindex: key.ifindex, mac: key.mac };
                Ok((station, entry.into()))
            })
            .collect()
    }

    fn remove_stations(&mut self, stations: &[Station]) -> Result<(), DataplaneError> {
        for station in stations {
            match self.stations.remove(&key(station)) {
                Err(error) if !is_absent(&error) => {
                    return Err(DataplaneError::map("delete from", names::STATIONS, error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn key(station: &Station) -> StationKey {
    StationKey { ifindex: station.ifindex, mac: station.mac, reserved: [0; 2] }
}

/// No Ethernet address: also the loopback interface's, whose frames come from there.
const UNKNOWN: [u8; 6] = [0; 6];
