//! The policy: which evidence leads to which verdict.
//!
//! Pure: no IO, no clock, no lookups, nothing of ours but its own types.

#![forbid(unsafe_code)]

pub mod decide;
pub mod evidence;
mod temporary;

pub use decide::{Mode, PermanentRefusals, Policy, Refusal, Stage, TemporaryRefusals, Verdict, decide};
pub use temporary::TemporaryDomains;
