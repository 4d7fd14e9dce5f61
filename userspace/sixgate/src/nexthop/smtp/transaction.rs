//! A transaction with the mail server behind: its envelope and how often it was repeated.
//!
//! It owns the parameters of MAIL. The dialogue is `transport`'s.

use sixgate_smtp::{
    command::{Body, MailFrom, RcptTo},
    reply::Reply,
};

use super::connection::Connection;
use crate::nexthop::{capabilities::header_reserve, client::ClientInfo, error::NextHopError};

/// A transaction as the sender sees it.
#[derive(Debug)]
pub(super) struct OpenTransaction {
    pub(super) client: ClientInfo,
    pub(super) mail: MailFrom,
    pub(super) header_size: u64,
    /// Those that the next hop accepted; the caller bounds their number.
    pub(super) accepted: Vec<RcptTo>,
    /// The answer to all that follows, once it cannot come to a good end any more.
    pub(super) verdict: Option<Reply>,
    /// Whether it was repeated on a new connection because the next hop hung up, which is done
    /// once.
    pub(super) repeated: bool,
    /// Whether its connection was given back since its last command.
    pub(super) given_back: bool,
    /// How often it was repeated for that reason.
    pub(super) resumptions: u32,
}

impl OpenTransaction {
    pub(super) fn new(client: ClientInfo, mail: MailFrom, header_size: u64) -> Self {
        Self {
            client,
            mail,
            header_size,
            accepted: Vec::new(),
            verdict: None,
            repeated: false,
            given_back: false,
            resumptions: 0,
        }
    }

    /// Answers all that follows with `verdict`.
    pub(super) fn ends_with(&mut self, verdict: Reply) -> Reply {
        self.verdict.insert(verdict).clone()
    }

    /// MAIL with the parameters that the sender gave, as far as the next hop offers them. 8BITMIME
    /// and SMTPUTF8 cannot be left out: the sender was promised them.
    pub(super) fn mail_line(&self, connection: &Connection) -> Result<String, NextHopError> {
        let offer = &connection.offer;
        let not_offered =
            |extension| NextHopError::NotOffered { address: connection.address().clone(), extension };
        let path = self.mail.reverse_path.as_ref();
        let path = path.map(ToString::to_string).unwrap_or_default();
        let size = self.mail.size.zip(offer.size).map(|(size, limit)| {
            let headers = self.header_size.min(header_reserve(limit));
            format!(" SIZE={}", size.saturating_add(headers))
        });
        let body = match self.mail.body {
            Some(Body::EightBitMime) if !offer.eight_bit_mime => return Err(not_offered("8BITMIME")),
            Some(Body::EightBitMime) => " BODY=8BITMIME",
            Some(Body::SevenBit) if offer.eight_bit_mime => " BODY=7BIT",
            Some(Body::SevenBit) | None => "",
        };
        let smtp_utf8 = match self.mail.smtp_utf8 {
            true if !offer.smtp_utf8 => return Err(not_offered("SMTPUTF8")),
            true => " SMTPUTF8",
            false => "",
        };
        Ok(format!("MAIL FROM:<{path}>{}{body}{smtp_utf8}\r\n", size.unwrap_or_default()))
    }
}
