//! The PROXY protocol, version 2 (HAProxy's proxy-protocol.txt, 2.2): tells the next hop who the
//! client is, before anything else is sent.
//!
//! It owns the octets of the header; it does no IO. No additional fields are sent.

use sixgate_smtp::policy::evidence::Endpoints;

/// What every header begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, the commands LOCAL and PROXY.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Nothing is known of the ends; TCP over IPv6.
const UNSPEC: u8 = 0x00;
const TCP_IPV6: u8 = 0x21;
/// Octets of both ends over IPv6: two addresses, two ports.
const ENDS_IPV6: u16 = 36;

/// The header of a connection of our own: no client stands behind it.
pub(super) fn local() -> Vec<u8> {
    start(LOCAL, UNSPEC, 0)
}

/// The header of a connection that a client stands behind.
pub(super) fn of_client(ends: &Endpoints) -> Vec<u8> {
    let mut header = start(PROXY, TCP_IPV6, ENDS_IPV6);
    header.extend_from_slice(&ends.source.octets());
    header.extend_from_slice(&ends.destination.octets());
    header.extend_from_slice(&ends.source_port.to_be_bytes());
    header.extend_from_slice(&ends.destination_port.to_be_bytes());
    header
}

fn start(command: u8, family: u8, length: u16) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend_from_slice(&[command, family]);
    header.extend_from_slice(&length.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_what_the_specification_says() {
        let ends = Endpoints {
            source: "2001:db8::1".parse().expect("an address"),
            source_port: 40000,
            destination: "2001:db8::25".parse().expect("an address"),
            destination_port: 25,
        };
        let signature = b"\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A".as_slice();
        let wanted = [
            signature,
            b"\x21\x21\x00\x24",
            b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01",
            b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x25",
            b"\x9c\x40\x00\x19",
        ];
        assert_eq!(of_client(&ends), wanted.concat());
        assert_eq!(local(), [signature, b"\x20\x00\x00\x00"].concat());
    }
}
