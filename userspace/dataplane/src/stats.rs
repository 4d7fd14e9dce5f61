//! The program's counters, summed over all CPUs.
//!
//! `sixgate_common::stat` defines the meaning of each counter.

use sixgate_common::{names, stat::Stat};

use super::{error::DataplaneError, maps::Maps};

impl Maps {
    /// Every counter since the maps were made, in the order of [`Stat::ALL`].
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn stats(&self) -> Result<Vec<(Stat, u64)>, DataplaneError> {
        Stat::ALL
            .into_iter()
            .map(|stat| {
                let values = self
                    .stats
                    .get(&(stat as u32), 0)
                    .map_err(|error| DataplaneError::map("read", names::STATS, error))?;
                Ok((stat, values.iter().sum()))
            })
            .collect()
    }
}
