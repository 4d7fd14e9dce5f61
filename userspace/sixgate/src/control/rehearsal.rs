//! Commands that only try what they would do: every check is made, and nothing is kept.
//!
//! What would change is the callers' to print.

use super::{Control, ControlError};
use sixgate_dataplane::Maps;

use crate::store::{Backup, Edit};

/// A store that would be replaced by its backup.
#[derive(Debug)]
pub struct Restoring {
    /// The backup that would replace it.
    pub backup: Backup,
    /// Where the store of before would be kept, if there is one.
    pub aside: Option<std::path::PathBuf>,
    /// The revision that the maps show.
    pub shown: Option<u64>,
}

impl Control {
    /// Lets changes be tried only, from now on.
    pub fn set_dry_run(&mut self) {
        self.is_dry_run = true;
    }

    /// Whether changes are tried only.
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        self.is_dry_run
    }

    /// Makes the checks of [`Self::restore`], and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`Self::restore`].
    pub fn try_restore(&self, force: bool) -> Result<Restoring, ControlError> {
        let (backup, aside) = self.store.try_restore(force)?;
        Ok(Restoring { backup, aside, shown: self.shown() })
    }

    /// Whether the maps can hold what the store would hold.
    pub(super) fn check_space(&self, maps: &Maps, edit: &Edit<'_>) -> Result<(), ControlError> {
        let (sizes, counts) = (maps.sizes(), edit.counts()?);
        let guard = self.guarded(&edit.guard()?, &self.attached_interfaces()?)?.len();
        for (map, bound, wanted) in [
            ("OPTIN", sizes.optin, counts.optin),
            ("GUARD", sizes.guard, guard),
            ("TRUST", sizes.trust, counts.trust),
        ] {
            if u32::try_from(wanted).map_or(true, |wanted| wanted > bound) {
                return Err(ControlError::NoSpace { map, bound, wanted });
            }
        }
        Ok(())
    }
}
