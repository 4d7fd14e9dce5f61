//! The configuration file on disk: written whole or not at all, and never over another one unasked.
//!
//! It compares values, not texts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;
use toml::Value;

use super::{SetupError, template::PACKAGED};

/// What became of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Installed {
    /// It is new.
    Written,
    /// It replaced the packaged one, which was as the package left it.
    InPlaceOfPackaged,
    /// It replaced another one, which is kept there.
    InPlaceOf(PathBuf),
    /// One with the same values is there.
    Unchanged,
}

/// Writes `text` to `path`; in a dry run it makes the checks alone.
///
/// # Errors
///
/// [`SetupError::Differs`] if a file with other values is there, without `force`;
/// [`SetupError::File`].
pub fn install(path: &Path, text: &str, force: bool, is_dry_run: bool) -> Result<Installed, SetupError> {
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| SetupError::File { operation, path, source }
    };
    let kept = kept_path(path).ok_or_else(|| failed("keep", path)(io::ErrorKind::AlreadyExists.into()))?;
    let outcome = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Installed::Written,
        Err(error) => return Err(failed("read", path)(error)),
        Ok(there) if there == PACKAGED => Installed::InPlaceOfPackaged,
        Ok(there) => match differences(&there, text) {
            differences if differences.is_empty() => return Ok(Installed::Unchanged),
            differences if !force => {
                return Err(SetupError::Differs { path: path.to_owned(), kept, differences });
            }
            _ => Installed::InPlaceOf(kept.clone()),
        },
    };
    if is_dry_run {
        return Ok(outcome);
    }
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).map_err(failed("make", folder))?;
    let write = |text: &str, path: &Path| -> io::Result<()> {
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(MODE))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    if let Installed::InPlaceOf(kept) = &outcome {
        fs::copy(path, kept).map_err(failed("write", kept))?;
    }
    write(text, path).map_err(failed("write", path))?;
    Ok(outcome)
}

/// Where a file that is replaced is kept; none if [`KEPT_MAX`] are kept already.
fn kept_path(path: &Path) -> Option<PathBuf> {
    let numbered = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 0 { ".old".to_owned() } else { format!(".old.{number}") });
        PathBuf::from(name)
    };
    (0..KEPT_MAX).map(numbered).find(|path| !path.exists())
}

/// The keys whose values differ, each with both.
fn differences(there: &str, wanted: &str) -> Vec<String> {
    let Ok(table) = there.parse::<toml::Table>() else {
        return vec!["it is not TOML".to_owned()];
    };
    let wanted = wanted.parse::<toml::Table>().unwrap_or_default();
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flatten("", &Value::Table(table), &mut old);
    flatten("", &Value::Table(wanted), &mut new);
    let defaults = {
        let mut defaults = BTreeMap::new();
        flatten("", &Value::Table(PACKAGED.parse().unwrap_or_default()), &mut defaults);
        defaults
    };
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let shown = |value: Option<&String>| value.map_or("not set", String::as_str).to_owned();
    let mut differences = Vec::new();
    for key in keys {
        let (before, after) = (old.get(key), new.get(key));
        // a key that is left out has its default
        let is_default = before.is_none() && after == defaults.get(key) && key != "mode";
        if before != after && !is_default {
            differences.push(format!("{key} is {}, would be {}", shown(before), shown(after)));
        }
    }
    differences
}

fn flatten(prefix: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&path, value, into);
            }
        }
        value => {
            into.insert(prefix.to_owned(), value.to_string());
        }
    }
}

/// Replaced files that are kept.
const KEPT_MAX: usize = 10;
/// The configuration has no secrets.
const MODE: u32 = 0o644;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_is_replaced_only_by_force_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("etc/sixgate.toml");
        let text = PACKAGED.replace("gate.example", "mx.example.com");
        assert_eq!(install(&path, &text, false, true).unwrap(), Installed::Written);
        assert!(!path.exists(), "a dry run");
        assert_eq!(install(&path, &text, false, false).unwrap(), Installed::Written);
        assert_eq!(install(&path, &text, false, false).unwrap(), Installed::Unchanged);
        fs::write(&path, PACKAGED).unwrap();
        assert_eq!(install(&path, &text, false, false).unwrap(), Installed::InPlaceOfPackaged);
        let own = "hostname = \"a.example\"\nmode = \"shadow\"\n[limits]\nrecipients = 7\n";
        fs::write(&path, own).unwrap();
        let error = install(&path, &text, false, false).unwrap_err().to_string();
        let hostname = "hostname is \"a.example\", would be \"mx.example.com\"";
        assert!(
            error.contains(hostname) && error.contains("limits.recipients is 7, would be 100"),
            "{error}"
        );
        assert!(!error.contains("dns."), "defaults: {error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), own);
        let kept = kept_path(&path).unwrap();
        assert_eq!(install(&path, &text, true, false).unwrap(), Installed::InPlaceOf(kept.clone()));
        assert_eq!(
            (fs::read_to_string(&path).unwrap(), fs::read_to_string(&kept).unwrap()),
            (text, own.to_owned())
        );
        fs::write(&path, "no TOML").unwrap();
        let error = install(&path, PACKAGED, false, false).unwrap_err().to_string();
        assert!(error.contains("it is not TOML"), "{error}");
    }
}
