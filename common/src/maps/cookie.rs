//! COOKIES: the keys of the cookies in our initial sequence numbers, and the cookies themselves.
//!
//! A SYN to a refused destination leaves no state behind. Our initial sequence number is the
//! sender's plus V, and V is a keyed hash of the connection's two ends and of the time, with the
//! decision on the connection in its two highest bits. So for each segment of the sender
//! `ack - seq = V + D`, where D is the octets of ours that it acknowledges less the octets of its
//! own before it: 0 at the end of the handshake, and a small number all through the dialogue.
//!
//! D can be 0 in the dialogue, too. So the lowest 13 bits of V depend on the sender's initial
//! sequence number as well, which only the end of the handshake shows: another acknowledgement is
//! taken for it with a chance of 1 in 8192. For the others these bits are a part of what is small.
//!
//! The hash is SipHash-1-3 (Aumasson, Bernstein: "SipHash: a fast short-input PRF") over 39
//! octets: the source address, the destination address, both ports, and the low 24 bits of the
//! epoch, least significant octet first. Gates with the same key and clocks that agree to a minute
//! know each other's cookies.

use crate::{
    refuse::Reason,
    settings::{REFUSE_AT_GREETING, REFUSE_AT_RCPT},
};

/// Value of COOKIES: one key, and what belongs to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CookieKey {
    /// SipHash's state with the key mixed in.
    pub state: [u64; 4],
    /// Nanoseconds to add to CLOCK_MONOTONIC for the time since 1970.
    pub clock: u64,
    /// 1 if this is a key.
    pub valid: u32,
    /// Keeps the size a multiple of eight without padding; always 0.
    pub reserved: u32,
}

impl CookieKey {
    /// No key: no cookie is made or known with it.
    pub const NONE: Self = Self { state: [0; 4], clock: 0, valid: 0, reserved: 0 };

    /// A key of 16 octets.
    #[must_use]
    pub const fn new(key: [u8; 16], clock: u64) -> Self {
        let [a, b, c, d, e, f, g, h, low @ ..] = key;
        let (first, second) = (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes(low));
        let state = [
            first ^ 0x736f_6d65_7073_6575,
            second ^ 0x646f_7261_6e64_6f6d,
            first ^ 0x6c79_6765_6e65_7261,
            second ^ 0x7465_6462_7974_6573,
        ];
        Self { state, clock, valid: 1, reserved: 0 }
    }

    /// Whether both are the same key; their clocks do not matter.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.valid == other.valid && self.state == other.state
    }

    /// The epoch at `now` (nanoseconds of CLOCK_MONOTONIC).
    #[must_use]
    #[inline(always)]
    pub const fn epoch(&self, now: u64) -> u32 {
        (now.wrapping_add(self.clock) >> EPOCH_SHIFT) as u32
    }

    /// The part of the hash that both addresses make, in network order as they lie in memory.
    #[must_use]
    #[inline(always)]
    pub const fn addresses(&self, source: [u64; 2], destination: [u64; 2]) -> Addresses {
        let mut state = self.state;
        let ([a, b], [c, d]) = (source, destination);
        state = absorbed(state, a.to_le());
        state = absorbed(state, b.to_le());
        state = absorbed(state, c.to_le());
        Addresses(absorbed(state, d.to_le()))
    }
}

/// The hash's state behind both addresses.
#[derive(Clone, Copy, Debug)]
pub struct Addresses([u64; 4]);

impl Addresses {
    /// The cookie of a connection: `ports` are the source port and the destination port in network
    /// order, as they lie in memory one behind the other.
    #[must_use]
    #[inline(always)]
    pub const fn cookie(&self, ports: u32, epoch: u32) -> Cookie {
        let last = ports.to_le() as u64 | ((epoch & EPOCH_MASK) as u64) << 32 | LENGTH << 56;
        let mut state = absorbed(self.0, last);
        state[2] ^= 0xff;
        state = round(round(round(state)));
        Cookie(state[0] ^ state[1] ^ state[2] ^ state[3])
    }
}

/// The hash of a connection and an epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cookie(u64);

impl Cookie {
    /// V for a sender's initial sequence number and a decision.
    #[must_use]
    #[inline(always)]
    pub const fn value(&self, initial: u32, style: Style) -> u32 {
        (style as u32) << STYLE_SHIFT | self.base() | self.tag(initial)
    }

    /// The part of V that the sender's initial sequence number does not change.
    #[inline(always)]
    const fn base(&self) -> u32 {
        (self.0 >> (64 - STYLE_SHIFT)) as u32 & !(TAG_MAX - 1)
    }

    /// The lowest bits of V, which the sender's initial sequence number changes: only the end of a
    /// handshake has it, so nothing else is taken for one.
    #[inline(always)]
    const fn tag(&self, initial: u32) -> u32 {
        let mixed = (initial ^ self.0 as u32).wrapping_mul((self.0 >> 32) as u32 | 1);
        // neighbouring numbers must not stay neighbours
        (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca6b) >> (32 - TAG_BITS)
    }
}

/// SipHash's state after eight octets more.
#[inline(always)]
const fn absorbed(mut state: [u64; 4], word: u64) -> [u64; 4] {
    state[3] ^= word;
    state = round(state);
    state[0] ^= word;
    state
}

/// SipRound, as the authors of SipHash call it.
#[inline(always)]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

/// The decision on a connection, as its cookie has it.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// The destination has not opted in: 550 at each RCPT.
    NotOptedIn = 0,
    /// The destination has not opted in: 554 as the greeting.
    Greeting = 1,
    /// The source has no PTR record: 450 at each RCPT.
    NoPtr = 2,
}

impl Style {
    /// The style of a connection that is answered with a SYN-ACK. `refuse_at` is a number of
    /// [`crate::settings`].
    #[must_use]
    #[inline(always)]
    pub const fn of(reason: Reason, refuse_at: u32) -> Self {
        match reason {
            Reason::NotOptedIn if refuse_at == REFUSE_AT_GREETING => Self::Greeting,
            Reason::NotOptedIn => Self::NotOptedIn,
            Reason::NoPtr => Self::NoPtr,
        }
    }

    /// Why the connection is refused.
    #[must_use]
    #[inline(always)]
    pub const fn reason(self) -> Reason {
        match self {
            Self::NotOptedIn | Self::Greeting => Reason::NotOptedIn,
            Self::NoPtr => Reason::NoPtr,
        }
    }

    /// When it is refused, a number of [`crate::settings`].
    #[must_use]
    #[inline(always)]
    pub const fn refuse_at(self) -> u32 {
        match self {
            Self::Greeting => REFUSE_AT_GREETING,
            Self::NotOptedIn | Self::NoPtr => REFUSE_AT_RCPT,
        }
    }

    /// The decision of that number.
    #[must_use]
    #[inline(always)]
    pub const fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::NotOptedIn),
            1 => Some(Self::Greeting),
            2 => Some(Self::NoPtr),
            _ => None,
        }
    }
}

/// The numbers of a segment, compared with a cookie.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Distance {
    /// The decision that the cookie has.
    pub style: Style,
    /// D and the tag: our octets that the segment acknowledges less the sender's octets before it,
    /// and a number below 2^13.
    octets: i32,
    /// The number for the end of a handshake.
    tag: i32,
}

impl Distance {
    /// How far a segment's numbers are from V with this cookie; none if no decision has such a
    /// cookie.
    #[must_use]
    #[inline(always)]
    pub const fn between(sequence: u32, acknowledgment: u32, cookie: &Cookie) -> Option<Self> {
        let beyond = acknowledgment.wrapping_sub(sequence).wrapping_sub(cookie.base());
        let number = beyond.wrapping_add(1 << (STYLE_SHIFT - 1)) >> STYLE_SHIFT;
        let octets = beyond.wrapping_sub(number << STYLE_SHIFT).cast_signed();
        let tag = cookie.tag(sequence.wrapping_sub(1)).cast_signed();
        match Style::from_number(number) {
            Some(style) => Some(Self { style, octets, tag }),
            None => None,
        }
    }

    /// Whether the segment ends a handshake.
    #[must_use]
    #[inline(always)]
    pub const fn is_exact(&self) -> bool {
        self.octets == self.tag
    }

    /// Whether the segment can be one of the dialogue.
    #[must_use]
    #[inline(always)]
    pub const fn is_near(&self) -> bool {
        self.octets > -NEAR && self.octets < NEAR + TAG_MAX as i32
    }
}

/// Keys that COOKIES has: the one in force, two that older sessions may still have, one to be
/// written. A power of two.
pub const KEYS: u32 = 4;
/// An epoch is 2^36 nanoseconds, 69 seconds.
pub const EPOCH_SHIFT: u32 = 36;
/// Epochs, back from the one at hand, whose cookies a session may have that goes on without its
/// state: 9 minutes.
pub const EPOCHS: u32 = 8;
/// Octets by which the two directions of a dialogue can differ: 60 recipients, each of which is
/// refused with some hundred octets more than it has, stay below.
pub const NEAR: i32 = 8192;

/// Bits of V that the sender's initial sequence number changes.
const TAG_BITS: u32 = 13;
const TAG_MAX: u32 = 1 << TAG_BITS;
const EPOCH_MASK: u32 = 0xff_ffff;
const STYLE_SHIFT: u32 = 30;
/// Octets that are hashed.
const LENGTH: u64 = 39;

const _: () = assert!(size_of::<CookieKey>() == 48 && align_of::<CookieKey>() == 8);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, integers, no padding (size asserted): every bit pattern is valid.
unsafe impl aya::Pod for CookieKey {}

#[cfg(test)]
mod tests {
    use super::*;

    /// SipHash-1-3 as its authors write it, over any octets.
    fn siphash(key: [u8; 16], octets: &[u8]) -> u64 {
        let mut state = CookieKey::new(key, 0).state;
        let mut words = octets.chunks_exact(8);
        for word in &mut words {
            state = absorbed(state, u64::from_le_bytes(word.try_into().unwrap()));
        }
        let mut last = [0; 8];
        last[..words.remainder().len()].copy_from_slice(words.remainder());
        last[7] = octets.len() as u8;
        state = absorbed(state, u64::from_le_bytes(last));
        state[2] ^= 0xff;
        state = round(round(round(state)));
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }

    const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    #[test]
    fn the_hash_is_the_one_of_the_reference_implementation() {
        // vectors of SipHash-1-3 with this key for the octets 0, 1, 2, ...
        let octets: [u8; 39] = core::array::from_fn(|index| index as u8);
        for (length, wanted) in
            [(0, 0xabac_0158_050f_c4dc_u64), (1, 0xc9f4_9bf3_7d57_ca93), (2, 0x82cb_9b02_4dc7_d44d)]
        {
            assert_eq!(siphash(KEY, &octets[..length]), wanted, "{length}");
        }
    }

    #[test]
    fn a_cookie_is_the_hash_of_both_ends_and_the_epoch() {
        let octets: [u8; 39] = core::array::from_fn(|index| index as u8);
        let word = |at: usize| u64::from_ne_bytes(octets[at..at + 8].try_into().unwrap());
        let ports = u32::from_ne_bytes(octets[32..36].try_into().unwrap());
        let addresses = CookieKey::new(KEY, 0).addresses([word(0), word(8)], [word(16), word(24)]);
        assert_eq!(addresses.cookie(ports, 0xaa26_2524), Cookie(siphash(KEY, &octets)));
        assert_ne!(addresses.cookie(ports, 0x26_2525), addresses.cookie(ports, 0x26_2524));
    }

    #[test]
    fn numbers_tell_the_decision_and_the_distance() {
        for hash in [0, 1, 0x2000_0000_1234_5678, u64::MAX, 0x0123_4567_89ab_cdef] {
            let cookie = Cookie(hash);
            for initial in [0, 1, 77, 1 << 31, u32::MAX] {
                for style in [Style::NotOptedIn, Style::Greeting, Style::NoPtr] {
                    let (sequence, value) = (initial.wrapping_add(1), cookie.value(initial, style));
                    let distance = |octets: i32| {
                        let acknowledgment = sequence.wrapping_add(value).wrapping_add_signed(octets);
                        Distance::between(sequence, acknowledgment, &cookie)
                    };
                    for octets in [0, 1, -1, 8191, -8191, 20_000, -20_000, 1 << 28, -(1 << 28)] {
                        let found = distance(octets).unwrap();
                        assert_eq!(found.style, style, "{hash:#x} {octets}");
                        assert_eq!(found.is_exact(), octets == 0, "{hash:#x} {octets}");
                        assert_eq!(found.is_near(), octets.abs() < NEAR, "{hash:#x} {octets}");
                    }
                }
                let value = cookie.value(initial, Style::NotOptedIn).wrapping_add(3 << STYLE_SHIFT);
                let acknowledgment = initial.wrapping_add(1).wrapping_add(value);
                let found = Distance::between(initial.wrapping_add(1), acknowledgment, &cookie);
                assert_eq!(found, None, "the fourth decision does not exist");
            }
        }
    }

    #[test]
    fn few_acknowledgements_of_a_dialogue_look_like_the_end_of_a_handshake() {
        let cookie = Cookie(0x0123_4567_89ab_cdef);
        let value = cookie.value(1000, Style::NotOptedIn);
        // as many octets in both directions
        let exact = (1..100_000_u32).filter(|octets| {
            let sequence = 1001 + octets;
            Distance::between(sequence, sequence.wrapping_add(value), &cookie).unwrap().is_exact()
        });
        assert!(exact.count() < 30);
    }

    #[test]
    fn a_style_is_read_back() {
        for (reason, refuse_at) in [
            (Reason::NotOptedIn, REFUSE_AT_RCPT),
            (Reason::NotOptedIn, REFUSE_AT_GREETING),
            (Reason::NoPtr, REFUSE_AT_RCPT),
        ] {
            let style = Style::of(reason, refuse_at);
            assert_eq!((style.reason(), style.refuse_at()), (reason, refuse_at));
        }
        assert_eq!(Style::of(Reason::NoPtr, REFUSE_AT_GREETING), Style::NoPtr);
    }

    #[test]
    fn an_epoch_is_counted_by_the_wall_clock() {
        let key = CookieKey::new(KEY, 5 << EPOCH_SHIFT);
        assert_eq!((key.epoch(0), key.epoch((1 << EPOCH_SHIFT) - 1), key.epoch(1 << EPOCH_SHIFT)), (5, 5, 6));
    }
}
