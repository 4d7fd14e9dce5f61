//! The report on one check: what was found, and what to do about it.
//!
//! It makes no check.

use serde::Serialize;

/// The outcome of one check.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It is as it should be, or only worth knowing.
    Ok,
    /// It could not be found out, or does not apply.
    NotChecked,
    /// Mail flows, and not as it should.
    Warning,
    /// Mail does not flow, or the daemon does not start.
    Error,
}

impl CheckOutcome {
    /// The outcome as the text output prints it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotChecked => "not checked",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What one check found.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// Which check, such as `dns.server`: the same in each version.
    pub id: &'static str,
    /// What it was about where there are several of a kind: an address, a domain, an interface.
    pub object: Option<String>,
    /// Whether it holds, and how bad it is if not.
    pub outcome: CheckOutcome,
    /// The finding, or why it was not checked.
    pub found: String,
    /// The command, the setting or the DNS record that cures it.
    pub cure: Option<String>,
}

impl CheckReport {
    pub(super) fn ok(id: &'static str, found: impl Into<String>) -> Self {
        Self::new(id, CheckOutcome::Ok, found.into(), None)
    }

    pub(super) fn warning(id: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(id, CheckOutcome::Warning, found.into(), Some(cure.into()))
    }

    pub(super) fn error(id: &'static str, found: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::new(id, CheckOutcome::Error, found.into(), Some(cure.into()))
    }

    pub(super) fn not_checked(id: &'static str, reason: impl Into<String>) -> Self {
        Self::new(id, CheckOutcome::NotChecked, reason.into(), None)
    }

    /// The same, with what is wrong in a sentence that has the cure in it.
    pub(super) fn sentence(id: &'static str, outcome: CheckOutcome, sentence: impl Into<String>) -> Self {
        Self::new(id, outcome, sentence.into(), None)
    }

    /// The same, about one of several objects.
    pub(super) fn about(mut self, object: impl ToString) -> Self {
        self.object = Some(object.to_string());
        self
    }

    /// The same, with a cure.
    pub(super) fn cured_by(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }

    const fn new(id: &'static str, outcome: CheckOutcome, found: String, cure: Option<String>) -> Self {
        Self { id, object: None, outcome, found, cure }
    }
}
