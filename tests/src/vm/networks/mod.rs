//! Networks that people run: VLANs on cards, bonds and bridges, other hosts' frames, changes of
//! interfaces, interfaces without an Ethernet header.
//!
//! A refused session may be answered by the program or, for a reason that `status` names, by the
//! daemon: what counts is that the right reply comes in the right network, from the one that
//! `status` names.

mod changes;
mod foreign;
mod hosts;
mod kinds;
mod queues;
mod vlans;
mod watch;

use std::env;

use anyhow::Result;

use super::{FILTER, report::Report};

/// Tries each kind; with a filter only the joined networks whose name contains it.
pub(super) fn run(report: &Report) -> Result<()> {
    let filter = env::var(FILTER).unwrap_or_default();
    vlans::run(report, &filter)?;
    if !filter.is_empty() {
        return Ok(());
    }
    foreign::run(report)?;
    queues::run(report)?;
    changes::run(report)?;
    kinds::run(report)
}

const SUITE: &str = "networks";
