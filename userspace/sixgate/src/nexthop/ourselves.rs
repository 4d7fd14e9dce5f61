//! Whether a next hop is sixgate itself, which would hand each message to itself, and that again,
//! until its own bounds end it.
//!
//! It asks the kernel; it sends nothing.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use super::address::Address;
use sixgate_base::endpoint::Endpoint;

/// Which of the sockets at `listening`, which take IPv6 only, a connection to `server` would come
/// to; none if it would not, or that is not known yet because the address is not there.
#[must_use]
pub fn leads_back(server: &Address, listening: &[Endpoint]) -> Option<Endpoint> {
    let Address::Tcp(server) = server else {
        return None;
    };
    listening.iter().find(|own| takes(own, server)).filter(|_| is_local(server)).cloned()
}

/// Whether `own` takes connections to `server`, if `server` is an address of this host.
pub(super) fn takes(own: &Endpoint, server: &Endpoint) -> bool {
    let address = match server.ip() {
        // it goes over IPv4, where sixgate does not listen
        IpAddr::V4(_) => return false,
        // connect(2) takes it for loopback
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST,
        IpAddr::V6(address) => address,
    };
    let is_same = || own.ip() == IpAddr::V6(address) && scope(own) == scope(server);
    own.port() == server.port() && (own.ip().is_unspecified() || is_same())
}

/// Of a link-local address, the interface.
fn scope(endpoint: &Endpoint) -> Option<u32> {
    match endpoint.resolve() {
        Ok(SocketAddr::V6(address)) => Some(address.scope_id()),
        _ => None,
    }
}

/// Whether `server` is an address of this host: the kernel answers from the address itself then
/// (RFC 6724 5, rule 1). A datagram socket is connected without a packet.
fn is_local(server: &Endpoint) -> bool {
    if server.ip().is_unspecified() || server.ip().is_loopback() {
        return true;
    }
    let source = server.resolve().and_then(|server| {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
        socket.connect(server)?;
        socket.local_addr()
    });
    // an IPv4 address in IPv6 form has a source of that form, and goes over IPv4
    let is_ipv6 = matches!(server.ip(), IpAddr::V6(address) if address.to_ipv4_mapped().is_none());
    is_ipv6 && source.is_ok_and(|source| source.ip() == server.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses_at_a_port_where_we_listen_lead_back() {
        let all = ["[::]:25"];
        let some = ["[2001:db8::25]:25", "[::1]:2525"];
        let rows: [(&str, &[&str], Option<usize>); 14] = [
            ("[::1]:25", &all, Some(0)),
            ("[::]:25", &all, Some(0)),
            ("[::1]:26", &all, None),
            ("[2001:db8::1]:25", &all, None),
            ("127.0.0.1:25", &all, None),
            ("0.0.0.0:25", &all, None),
            ("[::ffff:127.0.0.1]:25", &all, None),
            ("unix:/run/mail.sock", &all, None),
            ("[::1]:2525", &some, Some(1)),
            ("[::]:2525", &some, Some(1)),
            ("[::1]:25", &some, None),
            ("[::]:25", &some, None),
            ("[2001:db8::25]:2525", &some, None),
            ("[::1]:25", &[], None),
        ];
        for (server, listening, wanted) in rows {
            let listening: Vec<Endpoint> = listening.iter().map(|own| own.parse().unwrap()).collect();
            let wanted = wanted.map(|at| listening[at].clone());
            assert_eq!(leads_back(&server.parse().unwrap(), &listening), wanted, "{server} {listening:?}");
        }
    }
}
