//! The result of reverse DNS for an address.
//!
//! It looks nothing up.

/// Reverse DNS of an address: the four results of RFC 8601 2.7.3 ("iprev"), which are never mixed.
/// Names are bounded in number and length and fit to be shown, without the final dot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PtrResult {
    /// There is a PTR record, and this name of it leads back to the address.
    Pass {
        /// The name of the host.
        name: String,
    },
    /// There are PTR records, and none of their names leads back to the address.
    Fail {
        /// Those that can be shown; perhaps none.
        names: Vec<String>,
    },
    /// There is no PTR record (NXDOMAIN or NODATA).
    NoRecord,
    /// DNS had no answer (SERVFAIL, REFUSED, time-out).
    TempError(Unanswered),
}

/// The question about an address that DNS did not answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unanswered {
    /// Whether there is a PTR record.
    Record,
    /// Whether a name leads back: there is a PTR record.
    Names {
        /// Those that can be shown; none if only their existence is known.
        names: Vec<String>,
    },
}

impl PtrResult {
    /// The result as RFC 8601 2.7.3 spells it.
    #[must_use]
    pub fn text(&self) -> &'static str {
        match self {
            Self::Pass { .. } => "pass",
            Self::Fail { .. } => "fail",
            Self::NoRecord => "permerror",
            Self::TempError(_) => "temperror",
        }
    }

    /// Why it is not a pass, as a fixed text.
    #[must_use]
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Pass { .. } => None,
            Self::Fail { .. } => Some("no PTR name resolves to the address"),
            Self::NoRecord => Some("no PTR record"),
            Self::TempError(_) => Some("no answer from DNS"),
        }
    }

    /// The name that leads back to the address.
    #[must_use]
    pub fn confirmed_name(&self) -> Option<&str> {
        match self {
            Self::Pass { name } => Some(name),
            Self::Fail { .. } | Self::NoRecord | Self::TempError(_) => None,
        }
    }

    /// The name that the address claims: the confirmed one if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Pass { name } => Some(name),
            Self::Fail { names } | Self::TempError(Unanswered::Names { names }) => {
                names.first().map(String::as_str)
            }
            Self::NoRecord | Self::TempError(Unanswered::Record) => None,
        }
    }
}
