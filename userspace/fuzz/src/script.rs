//! How an input is divided: its first line is a script, the rest are the octets of a client.
//!
//! Scripts are text, so that a seed can be written by hand. The targets give letters their meaning.

/// The choices that an input makes, one octet each, from the first again after the last.
#[derive(Clone, Debug)]
pub struct Script<'a> {
    octets: &'a [u8],
    at: usize,
}

impl Script<'_> {
    /// The next choice.
    pub fn choose(&mut self) -> u8 {
        let Some(octet) = self.octets.get(self.at % self.octets.len().max(1)) else {
            return 0;
        };
        self.at += 1;
        *octet
    }

    /// The next choice as a length from 1 to `max`.
    pub fn length(&mut self, max: usize) -> usize {
        // digits are short, letters long: a seed is written by hand
        match self.choose() {
            digit @ b'1'..=b'9' => usize::from(digit - b'0').min(max),
            b'a' => max,
            other => usize::from(other).clamp(1, max),
        }
    }
}

/// The script in the first line of `input`, and what follows it.
#[must_use]
pub fn split(input: &[u8]) -> (Script<'_>, &[u8]) {
    let end = input.iter().position(|octet| *octet == b'\n');
    let octets = &input[..end.unwrap_or(input.len())];
    let rest = end.map_or(&[][..], |end| &input[end + 1..]);
    (Script { octets, at: 0 }, rest)
}
