//! The program that links are given.
//!
//! Which links, and when, is `attach`'s.

use std::fs;

use aya::programs::Xdp;
use aya_obj::programs::XdpAttachType;

use super::plan::AttachPlan;
use crate::{
    error::DataplaneError,
    fallback_reason::FallbackReason,
    loader::Loader,
    object::{self, Object},
    pins::{PinSet, adopt, remove_pin},
};

/// The program that links are given: loaded just now, or, if it is known to be this build's, the
/// pinned one.
pub(super) struct Program {
    object: Option<Object>,
    pinned: Option<Xdp>,
    pub(super) fallback_reason: Option<FallbackReason>,
}

impl Program {
    pub(super) fn of(
        plan: &AttachPlan,
        loader: &Loader,
        live: &PinSet,
        pinned: Option<(u32, object::ProgramTag)>,
    ) -> Result<Self, DataplaneError> {
        let file = live.program();
        if pinned.is_some_and(|(_, tag)| loader.tag() == Some(tag)) {
            let program = Xdp::from_pin(&file, XdpAttachType::Interface)
                .map_err(|error| DataplaneError::aya(format!("open {}", file.display()), error))?;
            return Ok(Self {
                object: None,
                pinned: Some(program),
                fallback_reason: loader.fallback_reason(),
            });
        }
        let object = loader.load(&plan.sizes, |name| Some(live.map(name)))?;
        Ok(Self { fallback_reason: object.fallback_reason.clone(), object: Some(object), pinned: None })
    }

    pub(super) fn xdp(&mut self) -> Result<&mut Xdp, DataplaneError> {
        match (&mut self.object, &mut self.pinned) {
            (Some(object), _) => object.program(),
            (None, Some(program)) => Ok(program),
            (None, None) => Err(DataplaneError::NoProgram),
        }
    }

    pub(super) fn tag(&mut self) -> Result<object::ProgramTag, DataplaneError> {
        object::tag(self.xdp()?)
    }

    /// The pinned program becomes this one, at once.
    pub(super) fn repin(&mut self, live: &PinSet) -> Result<(), DataplaneError> {
        if self.object.is_none() {
            return Ok(());
        }
        let (next, file) = (live.next_program(), live.program());
        remove_pin(&next)?;
        self.xdp()?
            .pin(&next)
            .map_err(|error| DataplaneError::aya(format!("pin {}", next.display()), error))?;
        adopt(&next)?;
        fs::rename(&next, &file).map_err(|error| DataplaneError::file("rename", &next, error))
    }
}
