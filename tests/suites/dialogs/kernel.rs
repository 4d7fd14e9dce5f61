//! The same scripts against the XDP program, with the senders' real TCP: those whose sessions are
//! all refused from their first packet, on every kind of link. The daemon runs, and gets no
//! connection.
//!
//! The suite `xdp` tests the answer to each segment.

use anyhow::Context as _;
use sixgate_tests::{
    dialog::play::for_each,
    gate::{self, Need},
    scene::{Link, refused_scripts},
};

/// What these tests cannot do without.
pub(crate) const NEEDS: &[Need] = &[Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ip")];

#[test]
fn what_is_refused_over_veth_in_the_driver() {
    run_all(Link::Native);
}

#[test]
fn what_is_refused_over_veth_in_the_stack() {
    run_all(Link::Generic);
}

#[test]
fn what_is_refused_on_one_host() {
    run_all(Link::Loopback);
}

/// Runs every script whose sessions are all refused from the first packet, and names those that did
/// not go as written.
fn run_all(link: Link) {
    if !gate::require(NEEDS) {
        return;
    }
    let scripts = refused_scripts();
    let failed = for_each(&scripts, |it| it.play(link).with_context(|| it.path.display().to_string()));
    assert!(failed.is_empty(), "{} of {} failed:\n\n{}", failed.len(), scripts.len(), failed.join("\n\n"));
}
