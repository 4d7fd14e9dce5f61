//! How a running daemon takes over another configuration: the maps first, whole or not at all.
//!
//! It reads no file.

use std::sync::{Arc, PoisonError};

use sixgate_common::settings::{ANSWER_FALLBACK, ANSWER_KERNEL, Settings};
use sixgate_dataplane::{CookieSecret, DataplaneError, Maps};

use super::{Control, ControlError, MAPS_WAIT, configured::Configured, setting_names::by_key};
use crate::config::Config;

impl Control {
    /// The configuration that is in force now.
    pub(super) fn configured(&self) -> Arc<Configured> {
        Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a daemon uses the pins, and the maps would get other settings or replies by this
    /// configuration than they have by its own; where there are no maps, their values are taken
    /// to differ.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub fn would_differ_from_daemon(&self) -> Result<bool, ControlError> {
        if !self.pins.are_in_use() {
            return Ok(false);
        }
        let Some(maps) = self.maps()? else {
            return Ok(true);
        };
        let in_force = maps.settings()?;
        let same = by_key(&in_force) == by_key(&self.configured().settings);
        Ok(!(same && self.has_current_replies(&maps, &in_force)?))
    }

    /// Gives the maps, if there are any, the settings and replies of the configuration that is in
    /// force; whether they had others.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub(super) fn put_configured_in_force(&self) -> Result<bool, ControlError> {
        let configured = self.configured();
        let Some(maps) = self.maps()? else { return Ok(false) };
        let in_force = maps.settings()?;
        let same = by_key(&in_force) == by_key(&configured.settings);
        if same && self.has_current_replies(&maps, &in_force)? {
            return Ok(false);
        }
        let cookie_key = self.cookie_key()?;
        let _lock = self.pins.lock_maps(MAPS_WAIT)?;
        if let Some(mut maps) = self.maps()? {
            put_in_force(&mut maps, &configured, cookie_key.as_ref())?;
        }
        Ok(true)
    }

    /// Takes over the settings of `config` about refusals, maps first: whole, or not at all, and
    /// which interfaces the program is to run on. Pins, sizes and store stay as they were.
    ///
    /// # Errors
    ///
    /// [`ControlError`]; nothing has changed then, as far as the maps can be written.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ControlError> {
        let next = Configured::from(config);
        let cookie_key = self.cookie_key()?;
        let _lock = self.pins.lock_maps_if_any(MAPS_WAIT)?;
        if let Some(mut maps) = self.maps()? {
            put_in_force(&mut maps, &next, cookie_key.as_ref())?;
        }
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }
}

/// One write puts settings and replies in force together.
fn put_in_force(
    maps: &mut Maps,
    next: &Configured,
    cookie_key: Option<&CookieSecret>,
) -> Result<(), DataplaneError> {
    let generation = maps.stage_replies(&next.replies)?;
    let cookie = maps.stage_cookie_key(cookie_key)?;
    let in_force = maps.settings()?;
    let answer = match (next.settings.answer, in_force.answer) {
        (ANSWER_KERNEL, ANSWER_KERNEL) => ANSWER_KERNEL,
        // the daemon answers until its next look finds that the program can
        (ANSWER_KERNEL, _) => ANSWER_FALLBACK,
        (wanted, _) => wanted,
    };
    maps.write_settings(&Settings {
        answer,
        ready: in_force.ready,
        generation,
        cookie,
        shown: in_force.shown,
        ..next.settings
    })
}
