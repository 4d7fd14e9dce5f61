//! The Internet checksum (RFC 1071), as plainly as it can be written.
//!
//! It shares no code with the one that it helps to test.

use std::net::Ipv6Addr;

/// The pseudo-header of RFC 8200 8.1 for `length` octets of `protocol`.
pub(super) fn pseudo_header(source: Ipv6Addr, destination: Ipv6Addr, length: usize, protocol: u8) -> Vec<u8> {
    let length = u32::try_from(length).expect("a packet of at most 65535 octets");
    [&source.octets()[..], &destination.octets(), &length.to_be_bytes(), &[0, 0, 0, protocol]].concat()
}

/// The ones' complement sum of all 16-bit words of `parts`; all but the last have an even number of
/// octets.
pub(super) fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum: u32 = parts
        .iter()
        .flat_map(|part| part.chunks(2))
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// The value of the field for a sum.
pub(super) const fn complement(sum: u16) -> u16 {
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        let words = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(sum(&[&words]), 0xddf2);
        assert_eq!(sum(&[&words[..4], &words[4..]]), 0xddf2);
        assert_eq!(sum(&[&[0x12]]), 0x1200);
    }
}
