//! What is shown and measured, and not tested: the demo, the bench, and our checks beside those of others.
//!
//! It makes no claim about sixgate: those are in the suites of `tests/`.

pub mod bench;
pub mod demo;
pub mod differential;
