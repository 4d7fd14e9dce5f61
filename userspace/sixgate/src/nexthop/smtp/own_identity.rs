//! Rejections that name sixgate's own address or host name: a mail server that learns of no client
//! rejects all mail so.
//!
//! It owns how such a rejection is known. What follows is in `health`, and in `transport` for the
//! sender.

use std::net::IpAddr;

use sixgate_smtp::reply::Reply;

/// Subjects of an enhanced code: none given, the dialogue, and policy (RFC 3463 3.6, 3.8).
const NOT_GIVEN: u16 = 0;
const DIALOGUE: u16 = 5;
const POLICY: u16 = 7;
/// The tag of an IPv6 address literal (RFC 5321 4.1.3), in lower case.
const IPV6_TAG: &str = "ipv6:";

/// Address and name by which the mail server knows sixgate.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnIdentity<'a> {
    /// The address that it has for us; none where it has none.
    pub(super) address: Option<IpAddr>,
    /// Our name in EHLO and LHLO.
    pub(super) hostname: &'a str,
}

impl OwnIdentity<'_> {
    /// Whether `reply` is a rejection of sixgate itself. It is not where the envelope names the
    /// same, which may be repeated then, nor where the code is about something else.
    pub(super) fn is_rejected(self, reply: &Reply, envelope: &[impl AsRef<str>]) -> bool {
        let is_about_us = |subject| matches!(subject, NOT_GIVEN | DIALOGUE | POLICY);
        let text = reply.to_string().to_ascii_lowercase();
        !reply.is_positive()
            && reply.enhanced().is_none_or(|enhanced| is_about_us(enhanced.subject))
            && (self.is_rejected_by(&text, envelope, Self::has_address)
                || self.is_rejected_by(&text, envelope, Self::has_hostname))
    }

    fn is_rejected_by(
        self,
        text: &str,
        envelope: &[impl AsRef<str>],
        names: impl Fn(Self, &str) -> bool,
    ) -> bool {
        names(self, text)
            && !envelope.iter().any(|address| names(self, &address.as_ref().to_ascii_lowercase()))
    }

    /// Whether `text`, in lower case, has our address in it, in any spelling.
    fn has_address(self, text: &str) -> bool {
        let is_part = |character: char| character.is_ascii_hexdigit() || matches!(character, ':' | '.');
        self.address.is_some_and(|own| {
            text.replace(IPV6_TAG, " ")
                .split(|character| !is_part(character))
                .map(|part| part.trim_end_matches(['.', ':']))
                .any(|part| part.parse::<IpAddr>().is_ok_and(|found| found.to_canonical() == own))
        })
    }

    /// Whether `text`, in lower case, has our host name in it. One without a dot may be a common
    /// term: it counts in angle brackets only.
    fn has_hostname(self, text: &str) -> bool {
        let own = self.hostname.to_ascii_lowercase();
        if !own.contains('.') {
            return text.contains(&format!("<{own}>"));
        }
        let is_part = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_' | '.');
        text.split(|character| !is_part(character)).any(|part| part.trim_end_matches('.') == own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_ours(code: u16, text: &str, hostname: &str, recipient: &str) -> bool {
        let reply = Reply::from_next_hop(code, [text.as_bytes()]).expect("a reply");
        let address = Some("::1".parse().expect("an address"));
        OwnIdentity { address, hostname }.is_rejected(&reply, &["a@sender.example", recipient])
    }

    #[test]
    fn only_a_policy_that_names_our_address_is_about_us() {
        let rows = [
            (450, "4.7.1 Client host rejected: cannot find your reverse hostname, [::1]", true),
            (554, "5.7.1 Service unavailable; Client host [0:0:0:0:0:0:0:1] blocked using rbl.example", true),
            (550, "::1 is listed at rbl.example", true),
            (550, "rejected: ::1.", true),
            (550, "5.7.1 [IPv6:::1] is not allowed here", true),
            (550, "5.7.1 [ipv6:0:0:0:0:0:0:0:1] is not allowed here", true),
            (550, "5.7.1 client=IPV6:::1, rejected", true),
            (250, "2.1.5 [::1] is welcome", false),
            (550, "5.1.1 <b@d.example>: undeliverable address: host ::1[::1] said: no", false),
            (450, "4.7.1 Client host rejected, [::11]", false),
            (450, "4.7.1 Client host rejected, [2001:db8::1]", false),
            (450, "4.7.1 Client host rejected, [IPv6:2001:db8::1]", false),
            (450, "4.7.1 Greylisted", false),
        ];
        for (code, text, wanted) in rows {
            assert_eq!(is_ours(code, text, "gate.example", "b@d.example"), wanted, "{text}");
            for named in ["\"[::1]\"@d.example", "b@[IPv6:::1]"] {
                assert!(!is_ours(code, text, "gate.example", named), "{text}");
            }
        }
    }

    #[test]
    fn a_rejection_of_our_host_name_is_about_us() {
        let rows = [
            (550, "5.7.1 <gate.example>: Helo command rejected: Access denied", true),
            (504, "5.5.2 <gate.example>: Helo command rejected: need fully-qualified hostname", true),
            (501, "5.5.2 <Gate.Example>: Helo command rejected: Invalid name", true),
            (450, "4.7.1 <gate.example>: Helo command rejected: Host not found", true),
            (550, "HELO gate.example. is not accepted", true),
            (550, "5.1.1 <gate.example>: Recipient address rejected: no such user", false),
            (550, "5.7.1 <mx.gate.example>: Helo command rejected: Access denied", false),
            (550, "5.7.1 <gate.example.org>: Helo command rejected: Access denied", false),
            (550, "5.7.1 <fluxgate.example>: Helo command rejected: Access denied", false),
            (550, "5.7.1 <b@d.example>: Recipient address rejected: Access denied", false),
            (250, "2.1.5 gate.example is welcome", false),
        ];
        for (code, text, wanted) in rows {
            assert_eq!(is_ours(code, text, "gate.example", "b@d.example"), wanted, "{text}");
            assert!(!is_ours(code, text, "gate.example", "b@GATE.example"), "{text}");
        }
        // a name without a dot
        let rejected = "5.5.2 <mail>: Helo command rejected: need fully-qualified hostname";
        assert!(is_ours(504, rejected, "mail", "b@d.example"));
        assert!(!is_ours(550, "5.7.1 no mail for <b@d.example>", "mail", "b@d.example"));
    }
}
