//! The same scripts against the XDP program, with the senders' real TCP: those whose sessions are all refused from their
//! first packet, on every kind of link. The daemon runs, and hears of no connection.
//!
//! What each segment is answered with is the business of the suite `xdp`.

use std::thread;

use anyhow::{Context as _, Result};
use sixgate_tests::{
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

/// Runs every script whose sessions are all refused from the first packet, and names those that did not go as written.
fn run_all(link: Link) {
    if !gate::require(NEEDS) {
        return;
    }
    let scripts = refused_scripts();
    let failed: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = scripts
            .iter()
            .map(|it| scope.spawn(move || it.play(link).with_context(|| it.path.display().to_string())))
            .collect();
        let ended = running.into_iter().map(|run| run.join().expect("a script panicked"));
        ended.filter_map(Result::err).map(|error| format!("{error:#}")).collect()
    });
    assert!(failed.is_empty(), "{} of {} failed:\n\n{}", failed.len(), scripts.len(), failed.join("\n\n"));
}
