//! An error in the text of the configuration file.
//!
//! It owns the position; the line and the text for people are made of it in the parent module.

/// An error in the file, and its position.
#[derive(Debug)]
pub(super) struct ConfigProblem {
    /// Octets before it.
    pub(super) offset: usize,
    /// The reason, as text for the message.
    pub(super) reason: String,
}
