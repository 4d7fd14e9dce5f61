//! Keys of the file that have a new name: the old one is accepted for one version.
//!
//! serde's aliases read the values; this finds out which name stands in the file.

use std::fmt;

use toml::de::DeTable;

use super::problem::ConfigProblem;

/// A key that stands in the file by its old name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RenamedKey {
    /// The table that the key is in.
    pub table: &'static str,
    /// The name in the file.
    pub old: &'static str,
    /// The name that replaces it.
    pub new: &'static str,
}

impl fmt::Display for RenamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { table, old, new } = self;
        write!(
            f,
            "{table}.{old} is now called {table}.{new}: rename it in the configuration; the next version does not \
             accept {old}"
        )
    }
}

/// The old names in `text`. Text that is not TOML has none: its error is found elsewhere.
///
/// # Errors
///
/// A [`ConfigProblem`] if old and new name stand in the file.
pub(super) fn find(text: &str) -> Result<Vec<RenamedKey>, ConfigProblem> {
    let Ok(root) = DeTable::parse(text) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for key in RENAMED_KEYS {
        let RenamedKey { table, old, new } = key;
        let Some(keys) = root.get_ref().get(table).and_then(|value| value.get_ref().as_table()) else {
            continue;
        };
        let Some((name, _)) = keys.get_key_value(old) else { continue };
        if keys.contains_key(new) {
            return Err(ConfigProblem {
                offset: name.span().start,
                reason: format!(
                    "{table}.{old} is now called {table}.{new}, and both stand in the file: remove {old}"
                ),
            });
        }
        found.push(key);
    }
    Ok(found)
}

const fn limit(old: &'static str, new: &'static str) -> RenamedKey {
    RenamedKey { table: "limits", old, new }
}

/// To be removed after one version, with the aliases in `limits`.
const RENAMED_KEYS: [RenamedKey; 5] = [
    limit("dkim_small", "dkim_concurrency_small"),
    limit("dkim_large", "dkim_concurrency_large"),
    limit("dkim_large_from", "dkim_large_message"),
    limit("dkim_wait", "dkim_queue_timeout"),
    limit("dkim_hashing", "dkim_max_hashed"),
];
