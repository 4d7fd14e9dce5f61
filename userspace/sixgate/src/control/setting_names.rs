//! The settings of the maps with the names and values of the configuration.
//!
//! It owns these names alone.

use std::collections::BTreeMap;

use sixgate_common::settings::{self, Settings};

pub(super) const ENFORCE: &str = "enforce";

/// Those that decide about refusals, by key.
pub(super) fn by_key(settings: &Settings) -> BTreeMap<String, String> {
    [("mode", mode(settings)), ("answer", answer(settings)), ("refuse_at", refuse_at(settings))]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

pub(super) fn mode(settings: &Settings) -> &'static str {
    match settings.mode {
        settings::MODE_ENFORCE => ENFORCE,
        _ => "shadow",
    }
}

/// Who should answer.
pub(super) fn answer(settings: &Settings) -> &'static str {
    match settings.answer {
        settings::ANSWER_KERNEL | settings::ANSWER_FALLBACK => "kernel",
        _ => "daemon",
    }
}

pub(super) fn refuse_at(settings: &Settings) -> &'static str {
    match settings.refuse_at {
        settings::REFUSE_AT_GREETING => "greeting",
        settings::REFUSE_AT_RESET => "reset",
        _ => "rcpt",
    }
}
