//! EVENTS: word of the sessions that the program refuses, taken from the ring buffer record by record.
//!
//! No record wakes its reader, who has to look by itself. What is done about a session is not its business.

use std::{
    mem::offset_of,
    net::{Ipv6Addr, SocketAddrV6},
};

use aya::maps::{MapData, RingBuf};
use sixgate_common::{
    event::{Begun, Ended, Ending, KIND_BEGUN, KIND_ENDED},
    flow::{DOMAIN_KEPT, FlowKey},
    line::is_domain_name,
    map,
    refuse::Reason,
};

use super::{error::DataplaneError, maps::open, pins::Pins};

/// A session that the program refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// Its key in FLOWS.
    pub flow: FlowKey,
    /// Why it is refused.
    pub reason: Reason,
    /// When the handshake was complete, nanoseconds of CLOCK_MONOTONIC.
    pub opened: u64,
}

impl Refused {
    /// The sender.
    #[must_use]
    pub fn source(&self) -> SocketAddrV6 {
        source(&self.flow)
    }

    /// Our end.
    #[must_use]
    pub fn destination(&self) -> SocketAddrV6 {
        destination(&self.flow)
    }
}

/// What became of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// It was greeted.
    Begun(Refused),
    /// It is over.
    Ended {
        /// The session.
        session: Refused,
        /// How it ended.
        ending: Ending,
        /// When, nanoseconds of CLOCK_MONOTONIC.
        at: u64,
        /// Commands answered.
        commands: u16,
        /// The domain of the last recipient that was refused, if it is known.
        domain: Option<String>,
    },
}

/// The reader of EVENTS; there can be one only.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    /// Opens the pinned ring buffer where the last reader stopped; nothing when nothing is pinned.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`], [`DataplaneError::NoRights`].
    pub fn open(pins: &Pins) -> Result<Option<Self>, DataplaneError> {
        let ring = pins.live()?.map(|set| open(&set, map::EVENTS)).transpose()?;
        Ok(ring.map(|ring| Self { ring }))
    }

    /// Takes at most `most` records; what cannot be read is left out.
    pub fn take(&mut self, most: usize) -> Vec<Event> {
        let mut events = Vec::new();
        for _ in 0..most {
            let Some(record) = self.ring.next() else {
                break;
            };
            events.extend(read(&record));
        }
        events
    }
}

/// A record; none if it is of a kind that this build does not know.
fn read(record: &[u8]) -> Option<Event> {
    let session = Refused {
        flow: FlowKey {
            source: part(record, FLOW + offset_of!(FlowKey, source))?,
            destination: part(record, FLOW + offset_of!(FlowKey, destination))?,
            source_port: part(record, FLOW + offset_of!(FlowKey, source_port))?,
            destination_port: part(record, FLOW + offset_of!(FlowKey, destination_port))?,
        },
        reason: Reason::from_number(*record.get(offset_of!(Begun, reason))?)?,
        opened: u64::from_ne_bytes(part(record, offset_of!(Begun, opened))?),
    };
    match (*record.get(offset_of!(Begun, kind))?, record.len()) {
        (KIND_BEGUN, BEGUN_LENGTH) => Some(Event::Begun(session)),
        (KIND_ENDED, ENDED_LENGTH) => Some(Event::Ended {
            session,
            ending: ending(*record.get(offset_of!(Begun, ending))?)?,
            at: u64::from_ne_bytes(part(record, offset_of!(Begun, now))?),
            commands: u16::from_ne_bytes(part(record, offset_of!(Begun, commands))?),
            domain: domain(
                &part::<DOMAIN_KEPT>(record, offset_of!(Ended, domain))?,
                *record.get(offset_of!(Begun, domain_length))?,
            ),
        }),
        _ => None,
    }
}

fn part<const N: usize>(record: &[u8], at: usize) -> Option<[u8; N]> {
    record.get(at..)?.first_chunk().copied()
}

fn ending(number: u8) -> Option<Ending> {
    [Ending::Quit, Ending::Closed, Ending::Reset, Ending::Dismissed, Ending::Refused]
        .into_iter()
        .find(|ending| *ending as u8 == number)
}

/// A stranger said it: what is no domain name is not shown.
fn domain(kept: &[u8], length: u8) -> Option<String> {
    let name = kept.get(..usize::from(length)).filter(|name| is_domain_name(name))?;
    String::from_utf8(name.to_vec()).ok()
}

/// The sender of a connection.
pub(super) fn source(flow: &FlowKey) -> SocketAddrV6 {
    SocketAddrV6::new(Ipv6Addr::from(flow.source), u16::from_be_bytes(flow.source_port), 0, 0)
}

/// Our end of a connection.
pub(super) fn destination(flow: &FlowKey) -> SocketAddrV6 {
    SocketAddrV6::new(Ipv6Addr::from(flow.destination), u16::from_be_bytes(flow.destination_port), 0, 0)
}

const FLOW: usize = offset_of!(Begun, flow);
const BEGUN_LENGTH: usize = size_of::<Begun>();
const ENDED_LENGTH: usize = size_of::<Ended>();

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as the program writes it.
    fn record(kind: u8, reason: u8, ending: u8, domain: &[u8], length: usize) -> Vec<u8> {
        let mut octets = vec![kind, reason, ending, domain.len() as u8];
        octets.extend(7_u16.to_ne_bytes());
        octets.extend([0; 2]);
        octets.extend(1_000_u64.to_ne_bytes());
        octets.extend(5_000_u64.to_ne_bytes());
        octets.extend("2001:db8:51::4".parse::<Ipv6Addr>().unwrap().octets());
        octets.extend("2001:db8:25::25".parse::<Ipv6Addr>().unwrap().octets());
        octets.extend([0x9c, 0x40, 0, 25, 0, 0, 0, 0]);
        octets.extend(domain);
        octets.resize(length, 0);
        octets
    }

    #[test]
    fn a_record_says_who_was_refused_and_how_it_ended() {
        let Some(Event::Begun(session)) = read(&record(KIND_BEGUN, 1, 0, b"", BEGUN_LENGTH)) else {
            panic!("no beginning")
        };
        assert_eq!(session.source(), "[2001:db8:51::4]:40000".parse().unwrap());
        assert_eq!(session.destination(), "[2001:db8:25::25]:25".parse().unwrap());
        assert_eq!((session.reason, session.opened), (Reason::NotOptedIn, 1_000));
        let ended = read(&record(KIND_ENDED, 2, Ending::Reset as u8, b"contoso.com", ENDED_LENGTH));
        let wanted = Event::Ended {
            session: Refused { reason: Reason::NoPtr, ..session },
            ending: Ending::Reset,
            at: 5_000,
            commands: 7,
            domain: Some("contoso.com".to_owned()),
        };
        assert_eq!(ended, Some(wanted));
    }

    #[test]
    fn what_is_no_domain_name_is_not_shown() {
        for said in [&b""[..], b"con\x1b[2J", b"-a.b", &[b'a'; DOMAIN_KEPT], &[0xff; 4]] {
            let ended = read(&record(KIND_ENDED, 1, Ending::Quit as u8, said, ENDED_LENGTH));
            assert!(matches!(ended, Some(Event::Ended { domain: None, .. })), "{ended:?}");
        }
    }

    #[test]
    fn what_is_no_record_is_left_out() {
        let quit = Ending::Quit as u8;
        for octets in [
            record(KIND_BEGUN, 1, 0, b"", BEGUN_LENGTH - 1),
            record(KIND_BEGUN, 1, 0, b"", ENDED_LENGTH),
            record(KIND_ENDED, 1, quit, b"", BEGUN_LENGTH),
            record(KIND_ENDED, 3, quit, b"", ENDED_LENGTH),
            record(KIND_ENDED, 1, 6, b"", ENDED_LENGTH),
            record(3, 1, quit, b"", ENDED_LENGTH),
            Vec::new(),
        ] {
            assert_eq!(read(&octets), None, "{octets:?}");
        }
    }
}
