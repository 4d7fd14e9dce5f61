//! The network cards of a virtual machine, two on each wire: lent to two namespaces, and given
//! back.
//!
//! It makes no card; `cargo xtask vm` boots machines that have them.

use std::{
    fs,
    path::Path,
    sync::{Condvar, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};

use crate::netns::Netns;

/// Cards in their namespaces. Dropping it gives them back.
#[derive(Debug)]
pub struct Lent {
    /// The name of each of ours, where it is now and what it is called there.
    cards: Vec<(String, Netns, &'static str)>,
}

/// Moves the two cards of each wire to two namespaces: of the first wire to the first two of
/// `places`, and so on, under the names given there; all are up. Waits until they are given back,
/// if they are lent.
///
/// # Errors
/// If this machine has not so many cards, or `ip` fails.
pub fn lend(places: &[(&Netns, &'static str)]) -> Result<Lent> {
    let guard = IN_USE.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut in_use = IN_USE.1.wait_while(guard, |in_use| *in_use).unwrap_or_else(PoisonError::into_inner);
    let names = names()?;
    let (found, wanted) = (names.len(), places.len());
    ensure!(found >= wanted, "this machine has {found} network cards, {wanted} are needed: cargo xtask vm");
    *in_use = true;
    drop(in_use);
    let mut lent = Lent { cards: Vec::new() };
    let home = Netns::current()?;
    for (name, (netns, new)) in names.into_iter().zip(places) {
        home.ip(&format!("link set dev {name} netns {} name {new}", netns.path()))?;
        lent.cards.push((name, netns.try_clone()?, new));
        netns.ip(&format!("link set dev {new} up"))?;
    }
    Ok(lent)
}

impl Drop for Lent {
    fn drop(&mut self) {
        for (name, netns, here) in &self.cards {
            // what was changed for one site is not what the next one expects
            let reset = format!("link set dev {here} down nomaster promisc off mtu {USUAL_MTU}");
            let back = format!("link set dev {here} netns {HOME} name {name}");
            if let Err(error) = netns.ip(&reset).and_then(|_| netns.ip(&back)) {
                eprintln!("cannot give {here} back: {error:#}");
            }
        }
        *IN_USE.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
        IN_USE.1.notify_one();
    }
}

/// The interfaces of this namespace that have a device, by their hardware addresses: those on one
/// wire are neighbours.
///
/// # Errors
/// Without sysfs.
pub fn names() -> Result<Vec<String>> {
    let failed = "cannot list the network interfaces";
    let mut cards = Vec::new();
    for entry in fs::read_dir(Path::new("/sys/class/net")).context(failed)? {
        let entry = entry.context(failed)?;
        if entry.path().join("device").exists() {
            let address = fs::read_to_string(entry.path().join("address")).context(failed)?;
            cards.push((address, entry.file_name().to_string_lossy().into_owned()));
        }
    }
    cards.sort();
    Ok(cards.into_iter().map(|(_, name)| name).collect())
}

/// The process whose namespace the cards are from: a virtual machine's first.
const HOME: u32 = 1;
const USUAL_MTU: u32 = 1500;

static IN_USE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
