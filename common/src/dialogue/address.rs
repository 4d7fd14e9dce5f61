//! IPv6 addresses as text (RFC 5952), without a branch that the verifier would follow twice.
//!
//! The kernel has no other formatter that a program may call. User space has its own; a test
//! compares both.

/// Longest text: eight groups of four digits, seven colons.
pub const TEXT_MAX: usize = 39;
/// Octets that [`write()`] may touch: it stores four at a time.
pub const BUFFER_LENGTH: usize = MASK + 4;

/// Writes `address`, its two halves in network order, in the form of RFC 5952 through `store`,
/// which puts four octets in the order of this machine at an offset of at most [`BUFFER_LENGTH`] -
/// 4. Returns the length of the text. IPv4-mapped addresses have another form in that RFC (section
/// 5) and never reach this function.
///
/// `unknown_zero` is 0, and the verifier must not learn so: it follows a known offset on each path
/// separately.
#[inline(always)]
pub fn write(address: [u64; 2], unknown_zero: usize, mut store: impl FnMut(usize, u32)) -> usize {
    let address = address.map(u64::from_be);
    let (start, length) = longest_zeros(zeros(address), unknown_zero);
    let mut at = unknown_zero & MASK;
    for index in 0..GROUPS {
        if length > 1 && index.wrapping_sub(start) < length {
            // the colon before the run stands already, unless the run comes first
            let colons = (index == start) as usize + (index == start && index == 0) as usize;
            store(at, COLONS);
            at = (at + colons) & MASK;
            continue;
        }
        let (digits, count) = digits(group(address, index));
        store(at, digits);
        at = (at + count) & MASK;
        if index < GROUPS - 1 {
            store(at, COLONS);
            at = (at + 1) & MASK;
        }
    }
    at
}

/// The group at `index`, the first one being 0.
#[inline(always)]
const fn group(address: [u64; 2], index: usize) -> u16 {
    let [high, low] = address;
    let half = if index < GROUPS / 2 { high } else { low };
    (half >> ((3 - index % 4) * 16)) as u16
}

/// The hexadecimal digits of a group without leading zeros, and how many there are.
#[inline(always)]
const fn digits(group: u16) -> (u32, usize) {
    let group = group as u32;
    // one bit for each nibble that is not zero, spread to all nibbles below it
    let mut used = (group | group >> 1 | group >> 2 | group >> 3) & 0x1111;
    used |= used >> 4;
    used |= used >> 8;
    used |= 1;
    let count = (used * 0x1111) >> 12 & 7;
    // one octet for each nibble, the highest nibble in the lowest octet
    let nibbles =
        group >> 12 & 0xf | (group >> 8 & 0xf) << 8 | (group >> 4 & 0xf) << 16 | (group & 0xf) << 24;
    let letters = (nibbles + 0x0606_0606) >> 4 & 0x0101_0101;
    let text = nibbles + 0x3030_3030 + letters * (b'a' - b'0' - 10) as u32;
    ((text >> ((4 - count) * 8)).to_le(), count as usize)
}

/// A bit for each group that is zero; the first group is bit 0.
#[inline(always)]
fn zeros(address: [u64; 2]) -> u8 {
    let mut zeros = 0;
    for index in 0..GROUPS {
        // 0 - 1 is the only difference with the highest bit set
        let is_zero = (group(address, index) as u32).wrapping_sub(1) >> 31;
        zeros |= (is_zero as u8) << index;
    }
    zeros
}

/// Where the longest run of zero groups starts, and its length; of several the first (RFC 5952
/// 4.2.3).
///
/// Verifiers before Linux 6.10 know nothing of a number made by OR, even of one whose parts have
/// known bits. Adding the `unknown_zero` keeps the compiler from dropping the mask, which is what
/// tells them the bound.
#[inline(always)]
fn longest_zeros(zeros: u8, unknown_zero: usize) -> (usize, usize) {
    let found = RUNS[(zeros as usize + unknown_zero) % RUNS.len()];
    ((found >> 4) as usize, (found & 0xf) as usize)
}

/// For each set of zero groups: start of the longest run in the high nibble, its length in the low
/// one.
static RUNS: [u8; 256] = runs();

const fn runs() -> [u8; 256] {
    let mut table = [0; 256];
    let mut zeros = 0;
    while zeros < 256 {
        let (mut best_start, mut best, mut start, mut index) = (0, 0, 0, 0);
        while index < GROUPS {
            if zeros >> index & 1 == 0 {
                start = index + 1;
            } else if index + 1 - start > best {
                best = index + 1 - start;
                best_start = start;
            }
            index += 1;
        }
        table[zeros] = (best_start << 4 | best) as u8;
        zeros += 1;
    }
    table
}

const COLONS: u32 = u32::from_ne_bytes(*b"::  ");
const GROUPS: usize = 8;
const MASK: usize = 63;

#[cfg(test)]
mod tests {
    use core::net::Ipv6Addr;
    extern crate std;
    use std::string::ToString as _;

    use super::*;

    fn text(address: Ipv6Addr) -> std::string::String {
        let mut buffer = [0; BUFFER_LENGTH];
        let bits = u128::from(address);
        let halves = [((bits >> 64) as u64).to_be(), (bits as u64).to_be()];
        let length = write(halves, 0, |at, word| buffer[at..at + 4].copy_from_slice(&word.to_ne_bytes()));
        core::str::from_utf8(&buffer[..length]).unwrap().to_string()
    }

    #[test]
    fn every_pattern_of_zero_groups_reads_as_the_standard_library_writes_it() {
        for zeros in 0..256_u16 {
            for value in [0x1, 0x10, 0xabc, 0xffff, 0x9a0f] {
                let groups = [0, 1, 2, 3, 4, 5, 6, 7].map(|at| if zeros >> at & 1 == 1 { 0 } else { value });
                let address = Ipv6Addr::from(groups);
                if address.to_ipv4_mapped().is_none() {
                    assert_eq!(text(address), address.to_string());
                }
            }
        }
    }

    #[test]
    fn every_group_reads_as_the_standard_library_writes_it() {
        for group in 0..=u16::MAX {
            let address = Ipv6Addr::from([0x2001, group, 0, 1, group, 0, 0, group]);
            assert_eq!(text(address), address.to_string());
        }
    }
}
