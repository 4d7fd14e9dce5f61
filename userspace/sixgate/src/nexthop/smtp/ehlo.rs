//! A mail server's offer in its reply to EHLO (RFC 5321 4.1.1.1).
//!
//! It owns the reading of keywords and their parameters; what is made of an offer is decided
//! elsewhere.

use std::{fmt, str};

use super::reader::ServerReply;
use crate::nexthop::capabilities::{Capabilities, header_reserve};

/// The extensions of a mail server that matter here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Offer {
    /// It offers 8BITMIME (RFC 6152).
    pub(super) eight_bit_mime: bool,
    /// RFC 1870: the limit in octets, `u64::MAX` for no limit.
    pub(super) size: Option<u64>,
    /// It offers SMTPUTF8 (RFC 6531).
    pub(super) smtp_utf8: bool,
    /// The attributes that XCLIENT takes, in upper case; none if there is no XCLIENT.
    pub(super) xclient: Option<Vec<String>>,
    /// It offers STARTTLS, which is not used on the way to it.
    pub(super) starttls: bool,
}

impl Offer {
    /// Reads the reply to EHLO. Its first line is a name and no keyword.
    pub(super) fn read(reply: &ServerReply) -> Self {
        let mut offer = Self::default();
        for line in reply.lines().skip(1) {
            let text = str::from_utf8(line).unwrap_or_default().to_ascii_uppercase();
            let mut parts = text.split_ascii_whitespace();
            match parts.next() {
                Some("8BITMIME") => offer.eight_bit_mime = true,
                Some("SIZE") => offer.size = size_limit(parts.next()),
                Some("SMTPUTF8") => offer.smtp_utf8 = true,
                Some("STARTTLS") => offer.starttls = true,
                Some("XCLIENT") => offer.xclient = Some(parts.map(str::to_owned).collect()),
                _ => {}
            }
        }
        offer
    }

    /// What may be offered to senders because of it.
    pub(super) fn capabilities(&self) -> Capabilities {
        let announced = |size| match size {
            u64::MAX => u64::MAX,
            // zero would mean that there is no limit
            size => size.saturating_sub(header_reserve(size)).max(1),
        };
        Capabilities {
            eight_bit_mime: self.eight_bit_mime,
            size: self.size.map(announced),
            // it is nothing without 8BITMIME (RFC 6531 3.1)
            smtp_utf8: self.smtp_utf8 && self.eight_bit_mime,
        }
    }
}

/// As the next hop's reply has it, as far as it matters to senders.
impl fmt::Display for Offer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size.map(|size| match size {
            u64::MAX => "SIZE".to_owned(),
            size => format!("SIZE={size}"),
        });
        let keywords = [
            self.eight_bit_mime.then(|| "8BITMIME".to_owned()),
            self.smtp_utf8.then(|| "SMTPUTF8".to_owned()),
            size,
        ];
        formatter.write_str(&keywords.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

/// The parameter of SIZE: none and zero mean that there is no fixed limit (RFC 1870 4). A parameter
/// that is not a number is taken as if SIZE had not been offered.
fn size_limit(parameter: Option<&str>) -> Option<u64> {
    match parameter.map(str::parse) {
        None | Some(Ok(0)) => Some(u64::MAX),
        Some(Ok(limit)) => Some(limit),
        Some(Err(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nexthop::smtp::reader::ReplyReader;

    fn offer(text: &str) -> Offer {
        let mut reader = ReplyReader::default();
        reader.input().extend_from_slice(text.as_bytes());
        Offer::read(&reader.poll_reply().expect("a reply").expect("a whole reply"))
    }

    #[test]
    fn keywords_are_read_without_regard_to_case() {
        let all = Offer {
            eight_bit_mime: true,
            size: Some(10_240_000),
            smtp_utf8: true,
            xclient: Some(vec!["NAME".into(), "ADDR".into()]),
            starttls: true,
        };
        let rows = [
            ("250 mx.example\r\n", Offer::default()),
            ("250-SIZE 5\r\n250 HELP\r\n", Offer::default()),
            (
                "250-mx\r\n250-8bitmime\r\n250-Size 10240000\r\n250-smtputf8\r\n250-StartTLS\r\n250 XClient name Addr\r\n",
                all,
            ),
        ];
        for (text, wanted) in rows {
            assert_eq!(offer(text), wanted, "{text}");
        }
    }

    #[test]
    fn smtputf8_needs_8bitmime() {
        for (keywords, wanted) in [
            ("SMTPUTF8\r\n250 8BITMIME", true),
            ("SMTPUTF8\r\n250 HELP", false),
            ("8BITMIME\r\n250 HELP", false),
        ] {
            let capabilities = offer(&format!("250-mx\r\n250-{keywords}\r\n")).capabilities();
            assert_eq!(capabilities.smtp_utf8, wanted, "{keywords}");
        }
    }

    #[test]
    fn the_log_has_its_keywords() {
        for (keywords, wanted) in [
            ("SIZE 10240000\r\n250-SMTPUTF8\r\n250 8BITMIME", "8BITMIME SMTPUTF8 SIZE=10240000"),
            ("SIZE\r\n250 HELP", "SIZE"),
            ("HELP\r\n250 XCLIENT ADDR", ""),
        ] {
            assert_eq!(offer(&format!("250-mx\r\n250-{keywords}\r\n")).to_string(), wanted);
        }
    }

    #[test]
    fn the_announced_size_leaves_room_for_headers() {
        let rows = [
            ("SIZE", Some(u64::MAX)),
            ("SIZE 0", Some(u64::MAX)),
            ("SIZE 100000", Some(100_000 - crate::nexthop::HEADER_RESERVE)),
            ("SIZE 10000", Some(7500)),
            ("SIZE 1", Some(1)),
            ("SIZE 99999999999999999999999", None),
            ("SIZE -1", None),
            ("HELP", None),
        ];
        for (keyword, wanted) in rows {
            let capabilities = offer(&format!("250-mx\r\n250 {keyword}\r\n")).capabilities();
            assert_eq!(capabilities.size, wanted, "{keyword}");
        }
    }
}
