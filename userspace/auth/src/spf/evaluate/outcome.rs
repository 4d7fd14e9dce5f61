//! The results of an evaluation and of its parts.
//!
//! It evaluates nothing.

use tracing::debug;

use crate::{
    dns::DnsFailure,
    spf::{
        macros::DomainSpec,
        name::DomainName,
        record::{Directive, Qualifier},
        result::{SpfReason, SpfResult},
    },
    trace::TermOutcome,
};

/// What check_host() comes to.
#[derive(Debug)]
pub(in crate::spf) struct EvaluationOutcome {
    pub(in crate::spf) result: SpfResult,
    pub(in crate::spf) reason: SpfReason,
    /// The term that decided, after those that led to its record.
    pub(in crate::spf) trail: String,
    /// `exp=` of the record that decided, and its domain.
    pub(in crate::spf) explanation: Option<(DomainSpec, DomainName)>,
}

/// What ends an evaluation at once.
pub(super) struct Stop {
    pub(super) result: SpfResult,
    pub(super) reason: SpfReason,
    pub(super) trail: String,
}

/// The result of a mechanism; a match names the term of an included record that matched.
pub(super) enum Match {
    No,
    Yes { trail: String },
}

impl EvaluationOutcome {
    pub(super) fn matched(
        directive: &Directive,
        trail: String,
        explanation: Option<(DomainSpec, DomainName)>,
    ) -> Self {
        let result = match directive.qualifier {
            Qualifier::Pass => SpfResult::Pass,
            Qualifier::Fail => SpfResult::Fail,
            Qualifier::SoftFail => SpfResult::SoftFail,
            Qualifier::Neutral => SpfResult::Neutral,
        };
        Self { result, reason: SpfReason::Matched, trail, explanation }
    }

    pub(super) fn undecided(result: SpfResult, reason: SpfReason) -> Self {
        Self { result, reason, trail: String::new(), explanation: None }
    }
}

impl Stop {
    pub(super) fn permanent(reason: SpfReason) -> Self {
        Self { result: SpfResult::PermError, reason, trail: String::new() }
    }

    pub(super) fn temporary(failure: DnsFailure) -> Self {
        debug!(failure = failure.to_string(), "SPF needs an answer that DNS does not give");
        let reason = SpfReason::DnsFailure(failure.reason());
        Self { result: SpfResult::TempError, reason, trail: String::new() }
    }

    /// The same, in a record to which `term` led.
    pub(super) fn after(self, term: &str) -> Self {
        Self { trail: along(term, &self.trail), ..self }
    }
}

impl From<&Result<Match, Stop>> for TermOutcome {
    fn from(matched: &Result<Match, Stop>) -> Self {
        match matched {
            Ok(Match::Yes { .. }) => Self::Match,
            Ok(Match::No) => Self::NoMatch,
            Err(Stop { result, reason, .. }) => Self::Stop(*result, *reason),
        }
    }
}

/// A way through records: `before`, then `term`; both may be empty.
pub(super) fn along(before: &str, term: &str) -> String {
    let gap = if before.is_empty() || term.is_empty() { "" } else { " > " };
    format!("{before}{gap}{term}")
}
