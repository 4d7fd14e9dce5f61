//! A greeting that got lost, sent again: the very octets and sequence numbers of the first one,
//! through a raw socket. The program only answers, so it cannot.
//!
//! When that is due is not its business, and it receives nothing.

use std::{io, net::Ipv6Addr, net::SocketAddrV6};

use etherparse::TcpHeader;
use sixgate_common::{
    flow::{FlowKey, WINDOW},
    refuse::ReplyId,
    reply,
    slot::{FLAG_ACKNOWLEDGED, OPENED_SHIFT, Slot},
};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    attached::attached,
    error::DataplaneError,
    events::{Refused, destination, source},
    maps::Maps,
    pins::Pins,
};

/// A greeting that its sender has not acknowledged, as a TCP segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Greeting {
    from: Ipv6Addr,
    to: Ipv6Addr,
    segment: Vec<u8>,
}

impl Maps {
    /// The session's greeting, if its arrival was not acknowledged and the session goes on.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn lost_greeting(&self, session: &Refused) -> Result<Option<Greeting>, DataplaneError> {
        let Some(slot) = self.slot(&session.flow)?.filter(|slot| is_unacknowledged(slot, session.opened))
        else {
            return Ok(None);
        };
        if !reply::holds(slot.generation, self.settings()?.generation) {
            return Ok(None);
        }
        let Some(id) = ReplyId::from_number(slot.last_reply) else {
            return Ok(None);
        };
        let reply = self.reply(slot.generation.into(), id)?;
        Ok(text(&reply, id, &session.flow).and_then(|text| greeting(&session.flow, &slot, &text)))
    }
}

/// Whether the slot belongs to the session that began at `opened`, and the greeting is the only
/// reply that was sent in it.
const fn is_unacknowledged(slot: &Slot, opened: u64) -> bool {
    slot.opened == (opened >> OPENED_SHIFT) as u32
        && slot.commands == 0
        && slot.flags & FLAG_ACKNOWLEDGED == 0
        && !slot.is_over()
}

/// A greeting in the program's wording.
fn text(reply: &reply::Reply, id: ReplyId, flow: &FlowKey) -> Option<Vec<u8>> {
    let text = reply.text.get(..usize::from(reply.length)).filter(|text| !text.is_empty())?;
    let subject = match id {
        ReplyId::Greeting => String::new(),
        ReplyId::GreetingRefused => destination(flow).ip().to_string(),
        _ => return None,
    };
    let (before, after) = text.split_at_checked(usize::from(reply.insert_at))?;
    Some([before, subject.as_bytes(), after].concat())
}

/// The segment, with its checksum (RFC 9293 3.1, RFC 8200 8.1); none if the slot does not fit the
/// text, which it does when nothing else was sent.
fn greeting(key: &FlowKey, slot: &Slot, text: &[u8]) -> Option<Greeting> {
    if usize::from(slot.reply) != text.len() {
        return None;
    }
    let (local, sender) = (destination(key), source(key));
    let mut header = TcpHeader::new(local.port(), sender.port(), slot.send_last(), WINDOW);
    header.acknowledgment_number = slot.receive_next;
    header.ack = true;
    header.psh = true;
    header.checksum = header.calc_checksum_ipv6_raw(key.destination, key.source, text).ok()?;
    let segment = [header.to_bytes().as_slice(), text].concat();
    Some(Greeting { from: *local.ip(), to: *sender.ip(), segment })
}

/// The way out for greetings. It holds a raw socket from the first one on and should not be kept:
/// such a socket collects what arrives.
pub struct Greeter<'a> {
    pins: &'a Pins,
    /// With the address that it is bound to.
    socket: Option<(SocketAddrV6, Socket)>,
}

impl<'a> Greeter<'a> {
    /// Nothing is opened yet.
    #[must_use]
    pub const fn new(pins: &'a Pins) -> Self {
        Self { pins, socket: None }
    }

    /// Sends a greeting by the host's routes.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoRawSocket`] without CAP_NET_RAW, [`DataplaneError::System`].
    pub fn send(&mut self, greeting: &Greeting) -> Result<(), DataplaneError> {
        let scope = self.scope(&greeting.to)?;
        let from = SocketAddrV6::new(greeting.from, 0, 0, scope);
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => DataplaneError::NoRawSocket,
            _ => DataplaneError::System {
                operation: format!("send a greeting from {} to {}", greeting.from, greeting.to),
                source: error,
            },
        };
        let socket = match self.socket.take() {
            Some((bound, socket)) if bound == from => socket,
            _ => raw_socket(from).map_err(failed)?,
        };
        // a raw socket has no port (net/ipv6/raw.c, `rawv6_sendmsg`)
        let to = SocketAddrV6::new(greeting.to, 0, 0, scope);
        socket.send_to(&greeting.segment, &to.into()).map_err(failed)?;
        self.socket = Some((from, socket));
        Ok(())
    }

    /// The interface that a link-local sender is on: the only one that the program runs on,
    /// otherwise unknown.
    fn scope(&self, sender: &Ipv6Addr) -> Result<u32, DataplaneError> {
        if !sender.is_unicast_link_local() {
            return Ok(0);
        }
        let links = attached(self.pins)?;
        let mut indices = links.iter().filter_map(|link| link.running).map(|running| running.index);
        match (indices.next(), indices.next()) {
            (Some(index), None) => Ok(index),
            _ => Err(DataplaneError::System {
                operation: format!("find the interface of {sender}"),
                source: io::ErrorKind::AddrNotAvailable.into(),
            }),
        }
    }
}

/// A raw socket for TCP over IPv6 (ipv6(7), raw(7)); the kernel adds the IPv6 header. The address
/// may be one that the host does not have: the program answers for all that are ours.
fn raw_socket(from: SocketAddrV6) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_freebind_v6(true)?;
    socket.bind(&from.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use etherparse::TcpSlice;
    use sixgate_common::{
        refuse::{Phase, REASON_NOT_OPTED_IN},
        reply::REPLY_MAX,
        slot::FLAG_FIN_RECEIVED,
    };

    use super::*;

    fn key() -> FlowKey {
        FlowKey {
            source: "2001:db8:51::4".parse::<Ipv6Addr>().unwrap().octets(),
            destination: "2001:db8:25::25".parse::<Ipv6Addr>().unwrap().octets(),
            source_port: 40_000_u16.to_be_bytes(),
            destination_port: 25_u16.to_be_bytes(),
        }
    }

    fn slot(length: u16) -> Slot {
        let first = u32::MAX - 9;
        Slot {
            state: Slot::state_of(REASON_NOT_OPTED_IN, Phase::Connected as u8),
            receive_next: 77,
            reply: length,
            send_next: first.wrapping_add(length.into()),
            opened: 1,
            ..Slot::FREE
        }
    }

    fn reply(text: &str, insert_at: usize) -> reply::Reply {
        let mut octets = [0; REPLY_MAX];
        octets[..text.len()].copy_from_slice(text.as_bytes());
        reply::Reply { length: text.len() as u16, insert_at: insert_at as u16, sum: 0, text: octets }
    }

    #[test]
    fn the_segment_is_the_one_that_got_lost() {
        let text = b"220 gate.example ESMTP sixgate\r\n";
        let again = greeting(&key(), &slot(text.len() as u16), text).unwrap();
        assert_eq!((again.from, again.to), (*destination(&key()).ip(), *source(&key()).ip()));
        let tcp = TcpSlice::from_slice(&again.segment).unwrap();
        assert_eq!((tcp.source_port(), tcp.destination_port()), (25, 40_000));
        assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number()), (u32::MAX - 9, 77));
        assert_eq!(
            (tcp.ack(), tcp.psh(), tcp.fin(), tcp.syn(), tcp.rst()),
            (true, true, false, false, false)
        );
        assert_eq!((tcp.window_size(), tcp.payload()), (WINDOW, &text[..]));
        // the sum over pseudo-header and segment is that of a segment that arrived well (RFC 1071
        // 1)
        let mut octets = [key().destination, key().source].concat();
        octets.extend((again.segment.len() as u32).to_be_bytes());
        octets.extend([0, 0, 0, 6]);
        octets.extend(&again.segment);
        let numbers =
            octets.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
        let sum: u32 = numbers.sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }

    #[test]
    fn a_refusing_greeting_names_the_destination() {
        let refusing = reply("554 gate.example [] no\r\n", 18);
        let said = text(&refusing, ReplyId::GreetingRefused, &key()).unwrap();
        assert_eq!(said, b"554 gate.example [2001:db8:25::25] no\r\n");
        assert_eq!(text(&refusing, ReplyId::Quit, &key()), None, "no greeting");
        assert_eq!(text(&reply("", 0), ReplyId::Greeting, &key()), None, "no reply");
        assert_eq!(text(&reply("220 x\r\n", 99), ReplyId::Greeting, &key()), None, "damaged");
    }

    #[test]
    fn only_a_greeting_that_is_the_last_reply_is_sent_again() {
        let fresh = slot(32);
        let opened = (1 << OPENED_SHIFT) + 77;
        assert!(is_unacknowledged(&fresh, opened));
        for (why, settled) in [
            ("acknowledged", Slot { flags: FLAG_ACKNOWLEDGED, ..fresh }),
            ("answered", Slot { commands: 1, ..fresh }),
            ("over", Slot { flags: FLAG_FIN_RECEIVED, ..fresh }),
            ("another session", Slot { opened: 2, ..fresh }),
        ] {
            assert!(!is_unacknowledged(&settled, opened), "{why}");
        }
        assert_eq!(greeting(&key(), &slot(31), &[b'x'; 32]), None, "other octets were sent");
    }
}
