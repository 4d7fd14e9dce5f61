//! The checks against a real DNS server: what they find out, and what they never claim to know.

mod conformance;
mod dkim;
mod ptr;
mod room;
mod servers;
mod spf;
mod time;

use std::{num::NonZeroU8, time::Duration};

use sixgate_auth::dns::Resolver;
use sixgate_tests::{
    dns::{DnsServer, Zone},
    timeouts::{patience, scaled},
};

/// How long a question waits where the case is that no answer comes.
fn short_timeout() -> Duration {
    scaled(Duration::from_millis(400))
}

/// A server for `zone`, and a resolver that asks it once for each question. It waits for long,
/// unless the zone is silent somewhere.
fn dns(zone: &str) -> (DnsServer, Resolver) {
    let zone = Zone::parse(zone).expect("a test's own zone");
    let timeout = if zone.has_silence() { short_timeout() } else { patience() };
    let server = zone.serve().expect("sockets on loopback");
    let dns = Resolver::new(&[server.address()], timeout, NonZeroU8::MIN);
    (server, dns)
}
