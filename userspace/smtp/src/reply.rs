//! The one reply table: every code and text of a reply that sixgate makes itself.
//!
//! It does not decide when a reply is sent. No text here takes a library's error message.

mod form;
mod kind;
mod table;

pub use form::{Enhanced, Origin, Reply};
pub use kind::ReplyKind;
pub use table::{Extension, ReplyTable};

#[cfg(test)]
mod tests;
