//! Whether the XDP program can send every refusing reply with our host name in it: it writes a
//! reply into the very frame that it answers, which can grow by [`GROWTH_MAX`] octets only.
//!
//! It owns the least that a reply answers; the texts are the reply table's.

use sixgate_common::{
    address,
    refuse::ReplyId,
    reply::{GROWTH_MAX, KEPT_DOMAIN_MAX},
};
use sixgate_smtp::reply::ReplyTable;

/// The longest host name with which every reply fits, in octets, if `hostname` is longer.
pub(super) fn longest_name(hostname: &str) -> Option<usize> {
    // the size limit is announced after EHLO: the longest one is taken
    let table = ReplyTable::new(hostname, u64::from(u32::MAX));
    let growth =
        |id| table.refusing(id, &longest_subject(id)).to_string().len().saturating_sub(shortest_payload(id));
    let most = ReplyId::ALL.into_iter().map(growth).max().unwrap_or_default();
    // a reply has the name once, and a reply without it is short
    most.checked_sub(GROWTH_MAX)
        .filter(|excess| *excess > 0)
        .map(|excess| hostname.len().saturating_sub(excess))
}

/// The longest text that is inserted, for any segment: a longer domain is named only where the
/// whole line is in the segment.
fn longest_subject(id: ReplyId) -> String {
    match id {
        ReplyId::NotOptedIn | ReplyId::NotOptedInTemporary => "x".repeat(KEPT_DOMAIN_MAX),
        ReplyId::GreetingRefused | ReplyId::NoPtr => "x".repeat(address::TEXT_MAX),
        _ => String::new(),
    }
}

/// Octets of the shortest payload that a reply answers: of a line that came in parts, the last one.
const fn shortest_payload(id: ReplyId) -> usize {
    match id {
        // the acknowledgement that completes the handshake
        ReplyId::Greeting | ReplyId::GreetingRefused => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_that_is_named_fits_and_the_next_one_does_not() {
        let name = |length: usize| format!("{}.example", "a".repeat(length - ".example".len()));
        let longest = longest_name(&name(200)).unwrap();
        assert_eq!(longest, 114, "the refusing greeting decides");
        assert_eq!(longest_name(&name(longest)), None);
        assert_eq!(longest_name(&name(longest + 1)), Some(longest));
    }
}
