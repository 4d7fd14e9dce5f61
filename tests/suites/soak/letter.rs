//! Messages of all sizes, with the oddities that a message may have, and their way back from a next
//! hop.
//!
//! It does not decide who may send them.

use sixgate_tests::sign;

use crate::dice::Dice;

/// A message of which the ledger knows.
pub(crate) struct Letter {
    pub(crate) number: u64,
    /// Lines end with CRLF; dots are not doubled.
    pub(crate) octets: Vec<u8>,
}

impl Letter {
    /// A message of about `size` octets: dots at the starts of lines, octets above 127, the longest
    /// lines, empty ones.
    pub(crate) fn new(number: u64, size: usize, dice: &mut Dice) -> Self {
        let mut octets = format!(
            "From: Soak <soak@{DOMAIN}>\r\nTo: user@gate.example\r\nSubject: message {number}\r\n\
             Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n{MESSAGE_ID}{number}@{DOMAIN}>\r\n\r\n"
        )
        .into_bytes();
        while octets.len() < size {
            match dice.below(8) {
                0 => octets.extend_from_slice(b"."),
                1 => octets.extend_from_slice(b"..two dots"),
                2 => {}
                3 => octets.extend((0..LINE_MAX).map(|at| b'a' + (at % 26) as u8)),
                4 => octets.extend((0..40).map(|at| 0x80 + at as u8)),
                _ => octets.extend_from_slice(format!("line {} of {number}", dice.below(1 << 20)).as_bytes()),
            }
            octets.extend_from_slice(b"\r\n");
        }
        Self { number, octets }
    }

    /// The same with a signature on top.
    pub(crate) fn signed(self) -> Self {
        let signer = sign::ed25519(SIGNED, SELECTOR, &sign::HEADERS);
        Self { octets: sign::signed(&signer, &self.octets), ..self }
    }

    /// The same, altered behind its signature.
    pub(crate) fn altered(mut self) -> Self {
        self.octets.extend_from_slice(b"altered\r\n");
        self
    }

    /// As it goes over the wire after DATA, with its end (RFC 5321 4.5.2).
    pub(crate) fn on_the_wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(self.octets.len() + 64);
        for line in self.octets.split_inclusive(|octet| *octet == b'\n') {
            if line.starts_with(b".") {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }

    /// Reads what a next hop got: the gate's own fields come off, the rest has to be a letter.
    pub(crate) fn from_behind(octets: &[u8]) -> Option<Self> {
        let mut rest = octets;
        while OURS.iter().any(|name| rest.starts_with(name.as_bytes())) {
            rest = behind_field(rest)?;
        }
        let id = rest.windows(MESSAGE_ID.len()).position(|window| window == MESSAGE_ID.as_bytes())?;
        let digits = rest.get(id + MESSAGE_ID.len()..)?.split(|octet| *octet == b'@').next()?;
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Self { number, octets: rest.to_vec() })
    }
}

/// What follows the first field and its folded lines.
fn behind_field(octets: &[u8]) -> Option<&[u8]> {
    let mut rest = octets;
    loop {
        let end = rest.iter().position(|octet| *octet == b'\n')?;
        rest = rest.get(end + 1..)?;
        if !rest.starts_with(b" ") && !rest.starts_with(b"\t") {
            return Some(rest);
        }
    }
}

/// What SPF passes for.
pub(crate) const DOMAIN: &str = "soak.example";
/// The domain that has a key, and no SPF record.
pub(crate) const SIGNED: &str = "signed.example";
/// What SPF fails for.
pub(crate) const DENIED: &str = "denied.example";
pub(crate) const SELECTOR: &str = "s";
const MESSAGE_ID: &str = "Message-ID: <";
const OURS: [&str; 4] = ["Authentication-Results:", "Delivered-To:", "Received:", "Return-Path:"];
/// Octets of the longest line, without its CRLF (RFC 5321 4.5.3.1.6).
const LINE_MAX: usize = 998;
