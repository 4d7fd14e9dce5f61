//! Networks that people run: VLANs on cards, bonds and bridges, other hosts' frames, changes of
//! interfaces, interfaces without an Ethernet header.
//!
//! A refused session may be answered by the program or, for a reason that `status` names, by the
//! daemon: what counts is that the right reply comes in the right network, from the one that
//! `status` names.

mod changes;
mod foreign;
mod kinds;
mod place;
mod queues;
mod vlans;
mod watch;

use anyhow::Result;

use super::report::Report;

/// Tries each kind.
pub(super) fn run(report: &Report) -> Result<()> {
    vlans::run(report)?;
    foreign::run(report)?;
    queues::run(report)?;
    changes::run(report)?;
    kinds::run(report)
}

const SUITE: &str = "networks";
