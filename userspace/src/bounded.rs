//! Reading to the end, within a bound.
//!
//! How much is too much is the reader's decision, and so is how the file is named in errors.

use std::io::{self, Read};

/// All octets of `source`.
///
/// # Errors
///
/// What reading fails with, and more than `most` octets.
pub(crate) fn read_to_end(source: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    source.take(most.saturating_add(1)).read_to_end(&mut octets)?;
    if octets.len() as u64 > most {
        return Err(io::Error::other(format!("it is longer than {most} octets")));
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_may_be_reached_and_not_exceeded() {
        assert_eq!(read_to_end(&b"abc"[..], 3).unwrap(), b"abc");
        assert_eq!(read_to_end(io::repeat(0), 3).unwrap_err().to_string(), "it is longer than 3 octets");
    }
}
