//! The terms that documents, comments and printed texts do without, with what to write instead.
//!
//! The list is `xtask/words.txt`; this file owns how it is read and what counts as a hit.

use super::{Problems, Tree, prose::Prose};

/// No prose has a term of the list.
pub(super) fn plain_words(tree: &Tree, problems: &mut Problems) {
    let entries = entries();
    for file in &tree.files {
        let prose = Prose::of(file);
        let small = prose.text.to_ascii_lowercase();
        for entry in &entries {
            // an entry with a capital is the beginning of a sentence
            let text = if entry.is_exact() { &prose.text } else { &small };
            for at in entry.hits(text) {
                let ForbiddenPhrase { word, instead, .. } = entry;
                problems.add(&file.path, prose.line(at), format!("\"{word}\": write {instead}"));
            }
        }
    }
}

/// One line of the list.
struct ForbiddenPhrase<'a> {
    word: &'a str,
    instead: &'a str,
    /// Phrases in which the term is right.
    except: Vec<&'a str>,
}

fn entries() -> Vec<ForbiddenPhrase<'static>> {
    let lines = LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut parts = line.split('|').map(str::trim);
            let (word, instead) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let except = parts.next().unwrap_or_default().split(',').map(str::trim);
            ForbiddenPhrase { word, instead, except: except.filter(|phrase| !phrase.is_empty()).collect() }
        })
        .collect()
}

impl ForbiddenPhrase<'_> {
    fn is_exact(&self) -> bool {
        self.word.contains(|letter: char| letter.is_ascii_uppercase())
    }

    /// Where the term stands by itself, outside of the phrases in which it is right.
    fn hits(&self, text: &str) -> Vec<usize> {
        let inside = |at: usize| {
            self.except.iter().any(|phrase| {
                let from = at.saturating_sub(phrase.len());
                let to = (at + self.word.len() + phrase.len()).min(text.len());
                let from = (0..=from).rev().find(|from| text.is_char_boundary(*from)).unwrap_or(0);
                let to = (to..=text.len()).find(|to| text.is_char_boundary(*to)).unwrap_or(text.len());
                let near = text.get(from..to).unwrap_or_default();
                near.match_indices(phrase).any(|(start, _)| {
                    let start = from + start;
                    start <= at && at + self.word.len() <= start + phrase.len()
                })
            })
        };
        text.match_indices(self.word)
            .map(|(at, _)| at)
            .filter(|at| stands_alone(text, *at, self.word.len()) && !inside(*at))
            .collect()
    }
}

fn stands_alone(text: &str, at: usize, length: usize) -> bool {
    let part = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '-';
    let before = text.get(..at).unwrap_or_default();
    let after = text.get(at + length..).unwrap_or_default();
    !before.ends_with(part) && !after.starts_with(part)
}

const LIST: &str = include_str!("../../words.txt");
