//! The lines of an SMTP session, with their senders.
//!
//! It owns no connection.

use std::fmt;

/// The lines of a session in their order, without CRLF.
#[derive(Clone, Debug, Default)]
pub struct Transcript {
    /// The lines in order.
    pub lines: Vec<Line>,
}

/// One line of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// The side that sent it.
    pub by: Side,
    /// The line, without CRLF.
    pub text: String,
}

/// An end of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The SMTP client.
    Client,
    /// The server, sixgate.
    Server,
}

impl Transcript {
    /// Notes a line.
    pub fn push(&mut self, by: Side, text: impl Into<String>) {
        self.lines.push(Line { by, text: text.into() });
    }

    /// The lines that the server sent, in order.
    pub fn replies(&self) -> impl Iterator<Item = &str> {
        let said = self.lines.iter().filter(|line| line.by == Side::Server);
        said.map(|line| line.text.as_str())
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Line { by, text } in &self.lines {
            let mark = match by {
                Side::Client => 'C',
                Side::Server => 'S',
            };
            writeln!(f, "{mark}: {text}")?;
        }
        Ok(())
    }
}
