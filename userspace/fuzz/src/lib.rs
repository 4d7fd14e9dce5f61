//! Code that the fuzz targets share: how an input is divided, and a second reading of lines and
//! content.
//!
//! It owns no claim: those are in the targets. Nothing here calls the code that is fuzzed.

pub mod canonical;
pub mod names;
pub mod script;
pub mod strict;
