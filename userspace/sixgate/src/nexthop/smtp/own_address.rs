//! Rejections that name sixgate's own address: what a mail server that is not told of clients has
//! against all mail.
//!
//! It owns how such a rejection is known. What follows is in `health`, and in `transport` for the
//! sender.

use std::net::IpAddr;

use sixgate_smtp::reply::Reply;

/// Subjects of an enhanced code: security and policy (RFC 3463 3.8), and none given.
const POLICY: u16 = 7;
const NOT_GIVEN: u16 = 0;

/// Whether `reply` is a rejection for `own`, the address that the mail server has for sixgate. It
/// is not where the envelope names that address, which may be repeated then, nor where the code is
/// about something else than policy.
pub(super) fn is_rejected(reply: &Reply, own: IpAddr, envelope: &[&str]) -> bool {
    !reply.is_positive()
        && reply.enhanced().is_none_or(|enhanced| matches!(enhanced.subject, POLICY | NOT_GIVEN))
        && names(&reply.to_string(), own)
        && !envelope.iter().any(|address| names(address, own))
}

/// Whether `text` has `address` in it, in any spelling.
fn names(text: &str, address: IpAddr) -> bool {
    let is_part = |character: char| character.is_ascii_hexdigit() || matches!(character, ':' | '.');
    text.split(|character| !is_part(character))
        .map(|word| word.trim_end_matches(['.', ':']))
        .any(|word| word.parse::<IpAddr>().is_ok_and(|found| found.to_canonical() == address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_policy_that_names_our_address_is_about_us() {
        let rows = [
            (450, "4.7.1 Client host rejected: cannot find your reverse hostname, [::1]", true),
            (554, "5.7.1 Service unavailable; Client host [0:0:0:0:0:0:0:1] blocked using rbl.example", true),
            (550, "::1 is listed at rbl.example", true),
            (550, "rejected: ::1.", true),
            (250, "2.1.5 [::1] is welcome", false),
            (550, "5.1.1 <b@d.example>: undeliverable address: host ::1[::1] said: no", false),
            (450, "4.7.1 Client host rejected, [::11]", false),
            (450, "4.7.1 Client host rejected, [2001:db8::1]", false),
            (450, "4.7.1 Greylisted", false),
        ];
        for (code, text, wanted) in rows {
            let reply = Reply::from_next_hop(code, [text.as_bytes()]).expect("a reply");
            let own = "::1".parse().expect("an address");
            assert_eq!(is_rejected(&reply, own, &["a@sender.example", "b@d.example"]), wanted, "{text}");
            assert!(!is_rejected(&reply, own, &["a@sender.example", "\"[::1]\"@d.example"]), "{text}");
        }
    }
}
