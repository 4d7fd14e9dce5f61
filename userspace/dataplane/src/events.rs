//! EVENTS: reports of the sessions that the program refuses, taken from the ring buffer record by
//! record.
//!
//! A record does not wake its reader, which has to poll. The use of the reports is decided
//! elsewhere.

use std::{
    mem::offset_of,
    net::{Ipv6Addr, SocketAddrV6},
};

use aya::maps::{MapData, RingBuf};
use sixgate_common::{
    event::{Ending, Head, KIND_ENDED, KIND_RECIPIENT, Record},
    flow::{ARGUMENT_KEPT, FlowKey},
    names,
    refuse::{Reason, ReplyId},
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
    /// The client's address and port.
    #[must_use]
    pub fn source(&self) -> SocketAddrV6 {
        source(&self.flow)
    }

    /// The server's address and port.
    #[must_use]
    pub fn destination(&self) -> SocketAddrV6 {
        destination(&self.flow)
    }
}

/// What became of a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KernelEvent {
    /// It is over.
    Ended {
        /// How it ended.
        ending: Ending,
        /// How far the session got.
        progress: KernelProgress,
    },
    /// It goes on after a recipient was refused, and names another one.
    Recipient(KernelProgress),
}

/// The state of a session when a record is made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KernelProgress {
    /// The refused session itself.
    pub session: Refused,
    /// When the record was made, nanoseconds of CLOCK_MONOTONIC.
    pub at: u64,
    /// The number of commands answered.
    pub commands: u16,
    /// With which reply the last recipient, or the session, was refused; none: neither was.
    pub refused: Option<ReplyId>,
    /// What followed `MAIL FROM:` last, cut at [`ARGUMENT_KEPT`]; empty: nothing.
    pub sender: Vec<u8>,
    /// What followed `RCPT TO:` of the last recipient that was refused, likewise; empty: none was.
    pub recipient: Vec<u8>,
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
        let ring = pins.live()?.map(|set| open(&set, names::EVENTS)).transpose()?;
        Ok(ring.map(|ring| Self { ring }))
    }

    /// Takes at most `most` records; what cannot be read is left out.
    pub fn take(&mut self, most: usize) -> Vec<KernelEvent> {
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
fn read(record: &[u8]) -> Option<KernelEvent> {
    let session = Refused {
        flow: FlowKey {
            source: part(record, FLOW + offset_of!(FlowKey, source))?,
            destination: part(record, FLOW + offset_of!(FlowKey, destination))?,
            source_port: part(record, FLOW + offset_of!(FlowKey, source_port))?,
            destination_port: part(record, FLOW + offset_of!(FlowKey, destination_port))?,
        },
        reason: Reason::from_number(*record.get(offset_of!(Head, reason))?)?,
        opened: u64::from_ne_bytes(part(record, offset_of!(Head, opened))?),
    };
    let progress = || {
        Some(KernelProgress {
            session,
            at: u64::from_ne_bytes(part(record, offset_of!(Head, now))?),
            commands: u16::from_ne_bytes(part(record, offset_of!(Head, commands))?),
            refused: ReplyId::from_number(*record.get(offset_of!(Head, refused))?).filter(|id| id.refuses()),
            sender: kept(record, offset_of!(Record, sender), offset_of!(Head, sender_length))?,
            recipient: kept(record, offset_of!(Record, recipient), offset_of!(Head, recipient_length))?,
        })
    };
    match (*record.get(offset_of!(Head, kind))?, record.len()) {
        (KIND_RECIPIENT, LENGTH) => Some(KernelEvent::Recipient(progress()?)),
        (KIND_ENDED, LENGTH) => Some(KernelEvent::Ended {
            ending: ending(*record.get(offset_of!(Head, ending))?)?,
            progress: progress()?,
        }),
        _ => None,
    }
}

/// The octets at `at` that are in use; the octet at `length_at` gives their number.
fn kept(record: &[u8], at: usize, length_at: usize) -> Option<Vec<u8>> {
    let octets: [u8; ARGUMENT_KEPT] = part(record, at)?;
    let length = usize::from(*record.get(length_at)?);
    Some(octets.get(..length)?.to_vec())
}

fn part<const N: usize>(record: &[u8], at: usize) -> Option<[u8; N]> {
    record.get(at..)?.first_chunk().copied()
}

fn ending(number: u8) -> Option<Ending> {
    [Ending::Quit, Ending::Closed, Ending::Reset, Ending::Dismissed, Ending::Refused]
        .into_iter()
        .find(|ending| *ending as u8 == number)
}

/// The sender of a connection.
pub(super) fn source(flow: &FlowKey) -> SocketAddrV6 {
    SocketAddrV6::new(Ipv6Addr::from(flow.source), u16::from_be_bytes(flow.source_port), 0, 0)
}

/// Our end of a connection.
pub(super) fn destination(flow: &FlowKey) -> SocketAddrV6 {
    SocketAddrV6::new(Ipv6Addr::from(flow.destination), u16::from_be_bytes(flow.destination_port), 0, 0)
}

const FLOW: usize = offset_of!(Head, flow);
const LENGTH: usize = size_of::<Record>();

#[cfg(test)]
mod tests {
    use super::*;

    /// A record as the program writes it.
    fn record(kind: u8, reason: u8, ending: u8, sender: &[u8], recipient: &[u8]) -> Vec<u8> {
        let mut octets = vec![kind, reason, ending, ReplyId::NoPtr as u8];
        octets.extend(7_u16.to_ne_bytes());
        octets.extend([sender.len() as u8, recipient.len() as u8]);
        octets.extend(1_000_u64.to_ne_bytes());
        octets.extend(5_000_u64.to_ne_bytes());
        octets.extend("2001:db8:51::4".parse::<Ipv6Addr>().unwrap().octets());
        octets.extend("2001:db8:25::25".parse::<Ipv6Addr>().unwrap().octets());
        octets.extend([0x9c, 0x40, 0, 25, 0, 0, 0, 0]);
        for argument in [sender, recipient] {
            let at = octets.len();
            octets.extend(argument);
            octets.resize(at + ARGUMENT_KEPT, 0xee);
        }
        octets
    }

    #[test]
    fn a_record_has_the_session_and_its_end() {
        let refused = record(KIND_ENDED, 1, Ending::Refused as u8, b"", b"");
        let Some(KernelEvent::Ended { progress: KernelProgress { session, .. }, .. }) = read(&refused) else {
            panic!("no end")
        };
        assert_eq!(session.source(), "[2001:db8:51::4]:40000".parse().unwrap());
        assert_eq!(session.destination(), "[2001:db8:25::25]:25".parse().unwrap());
        assert_eq!((session.reason, session.opened), (Reason::NotOptedIn, 1_000));
        let progress = KernelProgress {
            session: Refused { reason: Reason::NoPtr, ..session },
            at: 5_000,
            commands: 7,
            refused: Some(ReplyId::NoPtr),
            sender: b"<a@b.example>".to_vec(),
            recipient: vec![b'x'; ARGUMENT_KEPT],
        };
        let octets = |kind, ending| record(kind, 2, ending, b"<a@b.example>", &[b'x'; ARGUMENT_KEPT]);
        let ended = read(&octets(KIND_ENDED, Ending::Reset as u8));
        assert_eq!(ended, Some(KernelEvent::Ended { ending: Ending::Reset, progress: progress.clone() }));
        assert_eq!(read(&octets(KIND_RECIPIENT, 0)), Some(KernelEvent::Recipient(progress)));
    }

    #[test]
    fn what_is_no_record_is_left_out() {
        let quit = Ending::Quit as u8;
        let of_length = |mut octets: Vec<u8>, length| {
            octets.resize(length, 0);
            octets
        };
        let ended = |kind, reason, ending| record(kind, reason, ending, b"", b"");
        for octets in [
            of_length(ended(KIND_ENDED, 1, quit), LENGTH - 1),
            of_length(ended(KIND_ENDED, 1, quit), LENGTH + 1),
            of_length(ended(KIND_ENDED, 1, quit), size_of::<Head>()),
            ended(0, 1, quit),
            ended(KIND_ENDED, 3, quit),
            ended(KIND_ENDED, 1, 6),
            ended(KIND_RECIPIENT + 1, 1, quit),
            record(KIND_ENDED, 1, quit, &[b'x'; ARGUMENT_KEPT + 1], b""),
            Vec::new(),
        ] {
            assert_eq!(read(&octets), None, "{octets:?}");
        }
    }
}
