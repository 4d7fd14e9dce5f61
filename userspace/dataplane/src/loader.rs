//! The results of this process's attempts to load the program, so that it does not repeat a load
//! that the kernel refused: a verifier may work for minutes before it refuses.
//!
//! Loading itself is `object`'s.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    error::DataplaneError,
    fallback_reason::FallbackReason,
    object::{self, Embedded, Object, ProgramTag, Sizes},
};

/// The memory of loads; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Loader(Arc<Mutex<LoadState>>);

#[derive(Clone, Debug, Default)]
enum LoadState {
    /// It was not tried yet.
    #[default]
    Nothing,
    /// It loads, whole or without what answers.
    Loads(Embedded),
    /// The kernel refuses both.
    Refused { what: String, code: Option<i32> },
}

impl Loader {
    /// Whether this kernel was found to refuse the program.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self.found(), LoadState::Refused { .. })
    }

    /// What this kernel makes of the embedded program, found out once: it is loaded with the
    /// smallest maps and dropped.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoProgram`], [`DataplaneError::NoRights`],
    /// [`DataplaneError::KernelLacks`].
    pub fn embedded(&self) -> Result<Embedded, DataplaneError> {
        if let LoadState::Loads(embedded) = self.found() {
            return Ok(embedded);
        }
        let mut object = self.load(&object::SMALLEST, |_| None)?;
        Ok(Embedded { tag: object::tag(object.program()?)?, fallback_reason: object.fallback_reason })
    }

    /// The tag of the embedded program, if it was loaded before.
    pub(super) fn tag(&self) -> Option<ProgramTag> {
        match self.found() {
            LoadState::Loads(embedded) => Some(embedded.tag),
            LoadState::Nothing | LoadState::Refused { .. } => None,
        }
    }

    /// Why the embedded program cannot answer, if it was loaded before.
    pub(super) fn fallback_reason(&self) -> Option<FallbackReason> {
        match self.found() {
            LoadState::Loads(embedded) => embedded.fallback_reason,
            LoadState::Nothing | LoadState::Refused { .. } => None,
        }
    }

    /// Loads the program with its maps as [`Object::load`] does, without what is known to be
    /// refused.
    pub(super) fn load(
        &self,
        sizes: &Sizes,
        pin: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Object, DataplaneError> {
        let loaded = match self.found() {
            LoadState::Refused { what, code } => {
                let source =
                    code.map_or_else(|| io::Error::other("refused before"), io::Error::from_raw_os_error);
                return Err(DataplaneError::KernelLacks { what, source });
            }
            LoadState::Loads(Embedded { fallback_reason: Some(fallback_reason), .. }) => {
                Object::load_without_answers(sizes, &pin, fallback_reason)
            }
            LoadState::Loads(_) | LoadState::Nothing => Object::load(sizes, &pin),
        };
        let mut object = loaded.inspect_err(|error| {
            if let DataplaneError::KernelLacks { what, source } = error {
                self.remember(LoadState::Refused { what: what.clone(), code: source.raw_os_error() });
            }
        })?;
        let tag = object::tag(object.program()?)?;
        self.remember(LoadState::Loads(Embedded { tag, fallback_reason: object.fallback_reason.clone() }));
        Ok(object)
    }

    fn found(&self) -> LoadState {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, found: LoadState) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }
}
