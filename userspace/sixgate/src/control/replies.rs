//! The refusing dialogue's replies as the map REPLIES holds them.
//!
//! The texts are the reply table's; nothing is written here.

use sixgate_common::{
    refuse::ReplyId,
    reply::{REPLY_MAX, Reply},
};
use sixgate_smtp::reply::ReplyTable;

/// Every reply of the refusing dialogue without its variable part, where that is inserted, and its
/// checksum's part. The sum takes the text as 16-bit words in the machine's order (RFC 1071 2,
/// (B)).
///
/// A reply that does not fit is left out, and the program passes on what would need it; the
/// configuration takes no host name that long.
#[must_use]
pub fn compile_replies(table: &ReplyTable) -> Vec<(ReplyId, Reply)> {
    ReplyId::ALL.into_iter().filter_map(|id| Some((id, compile(table, id)?))).collect()
}

fn compile(table: &ReplyTable, id: ReplyId) -> Option<Reply> {
    let plain = table.refusing(id, "").to_string();
    let insert_at = table.refusing(id, MARK).to_string().find(MARK).unwrap_or(plain.len());
    let mut text = [0; REPLY_MAX];
    text.get_mut(..plain.len())?.copy_from_slice(plain.as_bytes());
    Some(Reply {
        length: u16::try_from(plain.len()).ok()?,
        insert_at: u16::try_from(insert_at).ok()?,
        sum: sums(plain.as_bytes().split_at_checked(insert_at)?),
        text,
    })
}

/// The sums of the text before and behind the variable part.
fn sums((before, behind): (&[u8], &[u8])) -> u32 {
    let folded = |octets| {
        let sum = sum(octets);
        let sum = (sum & 0xffff) + (sum >> 16);
        (sum & 0xffff) + (sum >> 16)
    };
    folded(before) | folded(behind) << 16
}

fn sum(octets: &[u8]) -> u32 {
    let value = |pair: &[u8]| match *pair {
        [first, second] => u32::from(u16::from_ne_bytes([first, second])),
        [last] => u32::from(u16::from_ne_bytes([last, 0])),
        _ => 0,
    };
    octets.chunks(2).map(value).sum()
}

/// Stands for the variable part: no reply has it otherwise.
const MARK: &str = "\u{1}";

#[cfg(test)]
mod tests {
    use super::*;

    fn replies() -> Vec<(ReplyId, Reply)> {
        compile_replies(&ReplyTable::new("gate.example", 1000))
    }

    #[test]
    fn with_its_variable_part_each_reply_is_the_tables() {
        let table = ReplyTable::new("gate.example", 1000);
        assert_eq!(replies().len(), ReplyId::ALL.len());
        for (id, reply) in replies() {
            let text = &reply.text[..usize::from(reply.length)];
            let (before, after) = text.split_at(usize::from(reply.insert_at));
            let variable = id.refuses();
            assert_eq!(!after.is_empty(), variable, "{id:?}");
            let subject: &[u8] = if variable { b"contoso.com" } else { b"" };
            let whole = [before, subject, after].concat();
            assert_eq!(whole, table.refusing(id, "contoso.com").to_string().as_bytes(), "{id:?}");
        }
    }

    #[test]
    fn the_sum_is_that_of_the_text_in_16_bit_parts() {
        for (octets, wanted) in [
            (&b""[..], 0_u32),
            (b"\x01", 0x1),
            (b"\x01\x02", 0x201),
            (&[0xff; 6], 0x2_fffd),
            (b"abc", 0x62c4),
        ] {
            if cfg!(target_endian = "little") {
                assert_eq!(sum(octets), wanted, "{octets:?}");
            }
        }
    }
}
