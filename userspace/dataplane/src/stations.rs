//! STATIONS: the Ethernet addresses of this host on the interfaces where the program runs.
//!
//! Which these are is the caller's business.

use std::collections::BTreeMap;

use sixgate_common::{
    names::{self, STATIONS_ENTRIES},
    station::{STATION_ANSWERS, STATION_KEEPS_MARKS, StationEntry, StationKey},
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
    /// It runs in generic mode there. Then frames with an unfinished checksum are answered only if
    /// they come from the link's other end.
    pub generic: bool,
    /// The Ethernet address of the link's other end, if it is known: a veth pair's, or that of the
    /// loopback interface.
    pub peer: Option<[u8; 6]>,
}

impl From<StationUse> for StationEntry {
    fn from(StationUse { answers, generic, peer }: StationUse) -> Self {
        let answers = if answers { STATION_ANSWERS } else { 0 };
        let keeps_marks = if generic { STATION_KEEPS_MARKS } else { 0 };
        Self { flags: answers | keeps_marks, peer: peer.unwrap_or(UNKNOWN), reserved: [0; 2] }
    }
}

impl From<StationEntry> for StationUse {
    fn from(StationEntry { flags, peer, .. }: StationEntry) -> Self {
        Self {
            answers: flags & STATION_ANSWERS != 0,
            generic: flags & STATION_KEEPS_MARKS != 0,
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
