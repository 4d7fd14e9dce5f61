//! A site with the XDP program attached and one destination that has opted in.
//!
//! It measures nothing.

use anyhow::Result;
use aya::programs::XdpMode;
use sixgate_dataplane::Pins;
use sixgate_tests::{
    site::{GATE, INTERFACE, PEER, Site},
    xdp_helper::Pass,
};

/// The site, as long as this exists.
pub(super) struct Attached {
    /// Without it, the program would leave the answers to the daemon. It goes before the site.
    _pass: Pass,
    pub(super) site: Site,
    pub(super) pins: Pins,
}

impl Attached {
    /// Makes the site and attaches the program natively, which answers by itself.
    ///
    /// # Errors
    /// If the program at the other end cannot be attached.
    pub(super) fn new() -> Result<Self> {
        let site = Site::new("", "answer = \"kernel\"");
        let pass = Pass::attach(&site.outside, PEER, XdpMode::Driver)?;
        site.sixgate(&format!("optin add {GATE}"));
        site.sixgate(&format!("attach --iface {INTERFACE}"));
        let pins = Pins::new(&site.pins());
        Ok(Self { _pass: pass, site, pins })
    }
}
