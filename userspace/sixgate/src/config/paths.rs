//! The files that the configuration names: none of those that the daemon writes may be another one
//! of them.
//!
//! It looks at names, and at the links that lead to them; what lies in a file is looked at by its
//! user.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::settings::{Config, NextHop, OFFER_FILE, SHADOW_FILE};
use crate::{nexthop::Address, store::Store};

/// A file, and the name by which the configuration knows it.
struct Named {
    key: &'static str,
    /// Where the key stands; empty for a file that has no key of its own.
    at: &'static [&'static str],
    path: PathBuf,
    /// Whether the daemon makes, replaces or removes it.
    is_written: bool,
}

/// Two names of one file of which one is written to: where the first of them stands, and why that
/// is wrong.
pub(super) fn conflict(config: &Config) -> Option<(&'static [&'static str], String)> {
    let named = named(config);
    for (count, other) in named.iter().enumerate() {
        for earlier in named.iter().take(count) {
            if earlier.path != other.path || !(earlier.is_written || other.is_written) {
                continue;
            }
            // the one that is a key of its own, and that of what is written, is to be changed
            let (wrong, right) =
                if other.is_written || earlier.at.is_empty() { (other, earlier) } else { (earlier, other) };
            let reason = format!(
                "{} and {} are the same file, {}: sixgate would overwrite one with the other; name another file",
                wrong.key,
                right.key,
                wrong.path.display()
            );
            return Some((wrong.at, reason));
        }
    }
    None
}

fn named(config: &Config) -> Vec<Named> {
    let file = |key, at, path: &Path, is_written| Named { key, at, path: real(path), is_written };
    let mut named = vec![file("the configuration", &[], &config.file, false)];
    if let Some(tls) = &config.tls {
        named.push(file("tls.certificate", &["tls", "certificate"], &tls.certificate, false));
        named.push(file("tls.key", &["tls", "key"], &tls.key, false));
        let authorities = tls.client_trust.iter();
        named.extend(
            authorities.map(|trust| file("tls.client_trust", &["tls", "client_trust"], &trust.ca, false)),
        );
    }
    match &config.next_hop {
        NextHop::Maildir(path) => {
            named.push(file("next_hop.maildir", &["next_hop", "maildir"], path, false));
        }
        NextHop::Server { address: Address::Unix(path), .. } => {
            named.push(file("the next hop's socket", &["next_hop"], path.as_path(), false));
        }
        NextHop::Server { .. } => {}
    }
    named.push(file("temporary_directory", &["temporary_directory"], &config.temporary_directory, false));
    named.push(file("xdp.bpffs", &["xdp", "bpffs"], &config.xdp.bpffs, false));
    // which may be beside the file that the setting names
    let store = Store::new(&config.store);
    named.push(file("store", &["store"], store.path(), true));
    for path in store.files().iter().filter(|path| *path != store.path()) {
        named.push(file("a file of the store", &["store"], path, true));
    }
    let offer = config.store.with_file_name(OFFER_FILE);
    named.push(file("a file of the store", &["store"], &offer, true));
    let shadow = config.store.with_file_name(SHADOW_FILE);
    named.push(file("the file of the shadow report", &["store"], &shadow, true));
    named.push(file("control_socket", &["control_socket"], &config.control_socket(), true));
    if let Some(path) = &config.metrics.file {
        named.push(file("metrics.file", &["metrics", "file"], path, true));
    }
    if let Some(Address::Unix(path)) = &config.http.listen {
        named.push(file("http.listen", &["http", "listen"], path.as_path(), true));
    }
    named
}

/// The file to which links lead; of one that is not there, its folder's.
fn real(path: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(path) {
        return real;
    }
    match (path.parent().and_then(|folder| fs::canonicalize(folder).ok()), path.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => path.to_owned(),
    }
}
