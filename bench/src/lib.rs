//! Programs that show and measure, and do not test: the demo, the bench, and sixgate's checks
//! beside those of others.
//!
//! It makes no claim about sixgate: those are in the suites of `tests/`.

pub mod bench;
pub mod demo;
pub mod differential;
