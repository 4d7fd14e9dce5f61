//! The policy: which evidence leads to which verdict.
//!
//! Pure: no IO, no clock, no lookups, nothing of ours but its own types.

#![forbid(unsafe_code)]

pub mod decide;
pub mod evidence;

pub use decide::{Mode, PermanentRefusals, Policy, Refusal, Stage, Verdict, decide};
