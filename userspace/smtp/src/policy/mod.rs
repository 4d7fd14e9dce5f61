//! The policy: which evidence leads to which verdict.
//!
//! Pure: no IO, no clock, no lookups; of this crate its own types only, and of `sixgate-common` the
//! keys of domains.

#![forbid(unsafe_code)]

pub mod decide;
pub mod evidence;
mod temporary;

pub use decide::{Mode, PermanentRefusals, Policy, Refusal, Stage, TemporaryRefusals, Verdict, decide};
pub use temporary::TemporaryDomains;
