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
use sixgate_tests::dns::{DnsServer, Zone};

/// Short, so that a test of silence is short; long enough for a busy machine to answer.
const TIMEOUT: Duration = Duration::from_millis(400);

/// A server for `zone`, and a resolver that asks it once for each question.
fn dns(zone: &str) -> (DnsServer, Resolver) {
    let server = Zone::parse(zone).expect("a test's own zone").serve().expect("sockets on loopback");
    let dns = Resolver::new(&[server.address()], TIMEOUT, NonZeroU8::MIN);
    (server, dns)
}
