//! The last refusals, with what a search looks at.

use std::collections::VecDeque;

use super::{RECENT_KEPT, snapshot::RefusalRow};
use crate::session_log::{Rejection, SessionSummary};

/// A bounded number of refusals, the newest at the end.
#[derive(Debug, Default)]
pub(super) struct RecentRefusals(VecDeque<RefusalRow>);

impl RecentRefusals {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps the refusals of a session.
    pub(super) fn note(&mut self, summary: &SessionSummary) {
        for rejection in &summary.rejections {
            if self.0.len() >= RECENT_KEPT {
                self.0.pop_front();
            }
            self.0.push_back(row(summary, rejection));
        }
    }

    /// The newest refusals of which a text contains `search`, regardless of case, `rows` at most;
    /// and how many there are.
    pub(super) fn find(&self, search: &str, rows: usize) -> (Vec<RefusalRow>, usize) {
        let search = search.trim().to_lowercase();
        let found = self.0.iter().rev().filter(|row| search.is_empty() || row.contains(&search));
        let rows = found.clone().take(rows).cloned().collect();
        (rows, found.count())
    }
}

impl RefusalRow {
    fn contains(&self, search: &str) -> bool {
        let optional = [&self.client_name, &self.helo, &self.mail_from, &self.recipient];
        let texts = [&self.id, &self.source, &self.destination, &self.command, &self.reason, &self.reply];
        let all = texts.into_iter().chain(optional.into_iter().flatten());
        all.into_iter().any(|text| text.to_lowercase().contains(search))
    }
}

fn row(summary: &SessionSummary, rejection: &Rejection) -> RefusalRow {
    let optional = |text: &Option<String>| text.as_deref().map(shown);
    RefusalRow {
        at: format!("{:.0}", summary.ended),
        id: summary.id.to_string(),
        source: summary.source.to_string(),
        client_name: optional(&summary.client_name),
        helo: optional(&summary.helo),
        destination: summary.destination.to_string(),
        command: rejection.command.to_owned(),
        reason: rejection.reason.to_owned(),
        reply: shown(&rejection.reply),
        mail_from: optional(&rejection.mail_from),
        recipient: optional(&rejection.recipient),
        by_kernel: summary.by_kernel,
        is_shadow: rejection.shadow,
    }
}

/// A client's text: cut, and with escapes for characters that are not text or change the direction
/// of others.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for letter in text.chars() {
        if shown.len() >= TEXT_MAX {
            shown.push_str("[...]");
            break;
        }
        if is_plain(letter) {
            shown.push(letter);
        } else {
            shown.extend(letter.escape_unicode());
        }
    }
    shown
}

/// Whether a character is shown as it is: it is visible, and does not change the direction of
/// others.
pub(crate) fn is_plain(letter: char) -> bool {
    let is_format = matches!(
        letter,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    !letter.is_control() && !is_format
}

/// Octets of a text.
const TEXT_MAX: usize = 256;
