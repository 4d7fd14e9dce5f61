//! The two network cards of a virtual machine, which one wire joins: lent to two namespaces, and given back.
//!
//! It makes no card; `cargo xtask vm` boots machines that have them.

use std::{
    fs,
    path::Path,
    sync::{Condvar, Mutex, PoisonError},
};

use anyhow::{Context as _, Result, ensure};

use crate::netns::Netns;

/// The two cards in their namespaces. Dropping it gives them back.
#[derive(Debug)]
pub struct Lent {
    /// The name of each of ours, where it is now and what it is called there.
    cards: Vec<(String, Netns, &'static str)>,
}

/// Moves one card into `near`, the other one into `far`, under the names given; both are up. Waits until they are
/// given back, if they are lent.
///
/// # Errors
/// If this machine has not two cards, or `ip` fails.
pub fn lend(near: (&Netns, &'static str), far: (&Netns, &'static str)) -> Result<Lent> {
    let guard = IN_USE.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut in_use = IN_USE.1.wait_while(guard, |in_use| *in_use).unwrap_or_else(PoisonError::into_inner);
    let names = names()?;
    ensure!(names.len() == 2, "this machine has not two network cards, but: {names:?}");
    *in_use = true;
    drop(in_use);
    let mut lent = Lent { cards: Vec::new() };
    let home = Netns::current()?;
    for (name, (netns, new)) in names.into_iter().zip([near, far]) {
        home.ip(&format!("link set dev {name} netns {} name {new}", netns.path()))?;
        lent.cards.push((name, netns.try_clone()?, new));
        netns.ip(&format!("link set dev {new} up"))?;
    }
    Ok(lent)
}

impl Drop for Lent {
    fn drop(&mut self) {
        for (name, netns, here) in &self.cards {
            let back = format!("link set dev {here} netns {HOME} name {name}");
            if let Err(error) = netns.ip(&format!("link set dev {here} down")).and_then(|_| netns.ip(&back)) {
                eprintln!("cannot give {here} back: {error:#}");
            }
        }
        *IN_USE.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
        IN_USE.1.notify_one();
    }
}

/// The interfaces of this namespace that have a device.
///
/// # Errors
/// Without sysfs.
pub fn names() -> Result<Vec<String>> {
    let folder = Path::new("/sys/class/net");
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).context("cannot list the network interfaces")? {
        let entry = entry.context("cannot list the network interfaces")?;
        if entry.path().join("device").exists() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The process whose namespace the cards are from: a virtual machine's first.
const HOME: u32 = 1;

static IN_USE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
