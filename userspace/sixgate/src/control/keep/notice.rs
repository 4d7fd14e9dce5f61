//! The results of a look at the interfaces, for the log and for `status`.
//!
//! It logs nothing.

/// How urgent a notice is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Urgency {
    /// It is as it should be.
    Info,
    /// Refusals cost more, or something is likely not meant.
    Warning,
    /// The program does not run where it should.
    Error,
}

/// Something to be logged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// How urgent it is.
    pub urgency: Urgency,
    /// A sentence for the log.
    pub text: String,
}

/// The result of a look at the interfaces.
#[derive(Debug, Default)]
pub struct Looked {
    /// In the order in which it happened.
    pub notices: Vec<Notice>,
    /// Whether the maps have to follow other interfaces or addresses.
    pub reconcile: bool,
    /// Whether daemon or kernel answers now, if that is new; one of the notices reports the same.
    pub responder: Option<String>,
    /// Failures that last and concern attaching as a whole; those of one interface are seen from
    /// outside.
    pub problems: Vec<String>,
}

impl Looked {
    pub(super) fn answer(&mut self, urgency: Urgency, text: String) {
        self.responder = Some(text.clone());
        self.note(urgency, text);
    }

    pub(super) fn note(&mut self, urgency: Urgency, text: String) {
        self.notices.push(Notice { urgency, text });
    }
}
