//! Interfaces that were detached by hand: the daemon leaves them alone until an operator attaches,
//! or until it starts again.
//!
//! A bpffs has no plain files, so that a directory beside the pins marks an interface, by its index
//! and by its name.

use std::path::PathBuf;

use super::{
    error::DataplaneError,
    pins::{Pins, escape, make_directory, names, remove_directory},
};

impl Pins {
    /// Marks an interface; by its index, too, while it has one.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn hold_off(&self, name: &str, index: Option<u32>) -> Result<(), DataplaneError> {
        self.markers(name, index).iter().try_for_each(|marker| make_directory(marker))
    }

    /// Whether an interface is marked, by its name or by its index.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn is_held_off(&self, name: &str, index: Option<u32>) -> Result<bool, DataplaneError> {
        for marker in self.markers(name, index) {
            if marker.try_exists().map_err(|error| DataplaneError::file("look for", &marker, error))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes an interface's marks away.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn release_hold(&self, name: &str, index: Option<u32>) -> Result<(), DataplaneError> {
        self.markers(name, index).into_iter().try_for_each(|marker| remove_directory(&marker))?;
        self.remove_if_empty()
    }

    /// Takes all marks away.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn release_holds(&self) -> Result<(), DataplaneError> {
        names(&self.held_off())?
            .into_iter()
            .try_for_each(|name| remove_directory(&self.held_off().join(name)))?;
        self.remove_if_empty()
    }

    fn remove_if_empty(&self) -> Result<(), DataplaneError> {
        if names(&self.held_off())?.is_empty() { remove_directory(&self.held_off()) } else { Ok(()) }
    }

    fn markers(&self, name: &str, index: Option<u32>) -> Vec<PathBuf> {
        let by_name = self.held_off().join(format!("name-{}", escape(name)));
        let by_index = index.map(|index| self.held_off().join(format!("index-{index}")));
        by_index.into_iter().chain([by_name]).collect()
    }

    fn held_off(&self) -> PathBuf {
        self.base().join("detached")
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn an_interface_is_held_off_by_name_or_index_until_either_is_released() {
        let directory = tempfile::tempdir().unwrap();
        let pins = Pins::new(directory.path());
        assert!(!pins.is_held_off("eth0", Some(7)).unwrap());
        pins.hold_off("eth0", Some(7)).unwrap();
        for (name, index, wanted) in [
            ("eth0", Some(7), true),
            ("wan0", Some(7), true),
            ("eth0", Some(8), true),
            ("eth0", None, true),
            ("wan0", Some(8), false),
        ] {
            assert_eq!(pins.is_held_off(name, index).unwrap(), wanted, "{name} {index:?}");
        }
        pins.release_hold("eth0", Some(7)).unwrap();
        assert!(!pins.is_held_off("eth0", Some(7)).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
        pins.hold_off("eth0.1", None).unwrap();
        pins.hold_off("eth1", Some(9)).unwrap();
        pins.release_holds().unwrap();
        assert!(!pins.is_held_off("eth0.1", None).unwrap() && !pins.is_held_off("x", Some(9)).unwrap());
    }
}
