//! Refused sessions over a link that loses a tenth of all packets, each way: never a wrong reply,
//! and every session that was greeted ends with the right one.

use std::{net::SocketAddrV6, thread, time::Duration};

use anyhow::{Context as _, Result};
use aya::programs::XdpMode;
use sixgate_tests::{
    gate,
    scene::{Link, Scene},
    site::{OTHER, PEER, SENDER, Site},
    timeouts::patience,
    xdp_helper::Lossy,
};

use crate::{
    kernel::NEEDS,
    session::{self, End},
};

#[test]
fn a_lossy_link_loses_no_refusal() {
    if !gate::require(NEEDS) {
        return;
    }
    let scene = Scene::new(Link::Lossy, "", "").unwrap();
    let site = &scene.site;
    let mut lossy = Lossy::attach(&site.outside, PEER, XdpMode::Driver, 0).unwrap();
    let daemon = site.serve(&[]);
    // the sender's address, and the neighbours', before anything is lost
    drop(site.connect(SENDER, OTHER));
    lossy.set(LOSS).unwrap();
    let ends: Vec<End> = thread::scope(|scope| {
        let running: Vec<_> = (0..SESSIONS).map(|_| scope.spawn(|| lossy_session(site))).collect();
        running.into_iter().map(|session| session.join().unwrap().unwrap()).collect()
    });
    let drops = lossy.drops().unwrap();
    assert!(drops.incoming > 0 && drops.outgoing > 0, "{drops:?}");
    let complete = ends.iter().filter(|end| **end == End::Complete).count();
    // a handshake's last acknowledgement or the greeting may be lost, and with it the session; a
    // client that is greeted gets every reply
    assert!(complete * 2 >= SESSIONS, "{complete} of {SESSIONS} sessions were greeted");
    assert!(site.counter("answer_greeting") > complete as u64);
    assert_eq!(site.counter("tag_not_opted_in"), 0);
    daemon.stop().unwrap();
}

/// One session, from the SYN to the end.
fn lossy_session(site: &Site) -> Result<End> {
    let address = |address: &str, port| SocketAddrV6::new(address.parse().unwrap(), port, 0, 0);
    let stream = site.outside.connect(address(SENDER, 0), address(OTHER, 25)).context("connect")?;
    session::play(stream, GREETING_WITHIN, patience())
}

/// Sessions at the same time.
const SESSIONS: usize = 60;
/// Of 1000 packets, each way.
const LOSS: u32 = 100;
/// A greeting that is lost is not sent again.
const GREETING_WITHIN: Duration = Duration::from_secs(5);
