//! STATIONS: the Ethernet addresses of this host on the interfaces where the program runs.
//!
//! Which these are is the caller's business.

use std::collections::BTreeMap;

use sixgate_common::{
    map::{self, STATIONS_ENTRIES},
    station::{STATION_ANSWERS, StationEntry, StationKey},
};

use super::{
    error::DataplaneError,
    maps::{Maps, is_absent},
};

/// An Ethernet address of this host, as it is seen on one interface. Frames to others are passed on untouched.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Station {
    /// The index of the interface where frames arrive.
    pub ifindex: u32,
    /// The address to which they are sent.
    pub mac: [u8; 6],
}

impl Maps {
    /// Makes the map hold exactly the stations that are wanted, and whether the program may answer frames to each by
    /// itself: adds and changes before it removes.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::StationsFull`] beyond [`STATIONS_ENTRIES`]; [`DataplaneError::Map`].
    pub fn set_stations(&mut self, wanted: &BTreeMap<Station, bool>) -> Result<(), DataplaneError> {
        if wanted.len() > STATIONS_ENTRIES as usize {
            return Err(DataplaneError::StationsFull { wanted: wanted.len() });
        }
        let found = self.stations()?;
        let surplus: Vec<Station> =
            found.keys().filter(|station| !wanted.contains_key(station)).copied().collect();
        // entries to be removed may be in the way of those to be added: a station that is missing meanwhile is passed on
        let is_cramped = surplus.len() + wanted.len() > STATIONS_ENTRIES as usize;
        if is_cramped {
            self.remove_stations(&surplus)?;
        }
        for (station, answers) in wanted {
            if found.get(station) != Some(answers) {
                let entry = StationEntry { flags: if *answers { STATION_ANSWERS } else { 0 } };
                self.stations
                    .insert(key(station), entry, 0)
                    .map_err(|error| DataplaneError::map("write", map::STATIONS, error))?;
            }
        }
        if is_cramped { Ok(()) } else { self.remove_stations(&surplus) }
    }

    /// Every station in the map, and whether the program may answer frames to it by itself.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn stations(&self) -> Result<BTreeMap<Station, bool>, DataplaneError> {
        self.stations
            .iter()
            .map(|entry| {
                let (key, entry) =
                    entry.map_err(|error| DataplaneError::map("read", map::STATIONS, error))?;
                let station = Station { ifindex: key.ifindex, mac: key.mac };
                Ok((station, entry.flags & STATION_ANSWERS != 0))
            })
            .collect()
    }

    fn remove_stations(&mut self, stations: &[Station]) -> Result<(), DataplaneError> {
        for station in stations {
            match self.stations.remove(&key(station)) {
                Err(error) if !is_absent(&error) => {
                    return Err(DataplaneError::map("delete from", map::STATIONS, error));
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
