//! The table with the values of one configuration: a reply for each kind, for each refusal, and for
//! EHLO.
//!
//! The texts are in `kind`.

use std::borrow::Cow;

use sixgate_common::{domain::is_domain_name, refuse::ReplyId};

use super::{
    form::{Origin, Reply, split_enhanced},
    kind::ReplyKind,
};
use crate::policy::{PermanentRefusals, Refusal, TemporaryRefusals, evidence::Endpoints};

/// The reply table with the values of one configuration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReplyTable {
    hostname: String,
    message_size_max: u64,
    permanent: PermanentRefusals,
    temporary: TemporaryRefusals,
}

impl ReplyTable {
    /// `hostname` is our name in greetings; `message_size_max` is what SIZE announces, in octets.
    #[must_use]
    pub fn new(hostname: impl Into<String>, message_size_max: u64) -> Self {
        let (permanent, temporary) = (PermanentRefusals::default(), TemporaryRefusals::default());
        Self { hostname: hostname.into(), message_size_max, permanent, temporary }
    }

    /// The same table, with `permanent` refusals as 550 and 5.x.x in place of 450 and 4.x.x; their
    /// texts stay.
    #[must_use]
    pub fn with_permanent(self, permanent: PermanentRefusals) -> Self {
        Self { permanent, ..self }
    }

    /// The same table, with `temporary` refusals as 450 and 4.x.x in place of 550 and 5.x.x; their
    /// texts stay.
    #[must_use]
    pub fn with_temporary(self, temporary: TemporaryRefusals) -> Self {
        Self { temporary, ..self }
    }

    /// A reply that is about nothing in particular.
    #[must_use]
    pub fn reply(&self, kind: ReplyKind) -> Reply {
        self.reply_about(kind, "")
    }

    /// A reply about `subject`: an address, a domain or a name of this server that clients may see.
    #[must_use]
    pub fn reply_about(&self, kind: ReplyKind, subject: &str) -> Reply {
        let kind = match kind {
            ReplyKind::NotOptedIn if self.temporary.not_opted_in => ReplyKind::NotOptedInTemporary,
            other => other,
        };
        let (code, enhanced, text) = kind.row();
        let text = text.replace("{host}", &self.hostname).replace("{}", subject);
        let enhanced = split_enhanced(enhanced).0;
        let takes_id = kind.takes_id();
        let reply = Reply { code, enhanced, lines: vec![Cow::Owned(text)], origin: Origin::Table, takes_id };
        if self.is_permanent(kind) { reply.into_permanent() } else { reply }
    }

    /// Whether the operator wants `kind` to be permanent although its row is temporary.
    fn is_permanent(&self, kind: ReplyKind) -> bool {
        match kind {
            ReplyKind::NoPtr | ReplyKind::PtrNotConfirmed => self.permanent.no_ptr,
            ReplyKind::NotAuthenticated => self.permanent.not_authenticated,
            _ => false,
        }
    }

    /// The reply to EHLO with the extensions of `offer`.
    #[must_use]
    pub fn ehlo(&self, offer: &[Extension]) -> Reply {
        let keyword = |extension: &Extension| match extension {
            Extension::Chunking => Cow::Borrowed("CHUNKING"),
            Extension::EightBitMime => Cow::Borrowed("8BITMIME"),
            Extension::EnhancedStatusCodes => Cow::Borrowed("ENHANCEDSTATUSCODES"),
            Extension::Pipelining => Cow::Borrowed("PIPELINING"),
            Extension::Size(size) => Cow::Owned(format!("SIZE {size}")),
            Extension::SmtpUtf8 => Cow::Borrowed("SMTPUTF8"),
            Extension::StartTls => Cow::Borrowed("STARTTLS"),
        };
        let host = Cow::Owned(self.hostname.clone());
        Reply {
            code: 250,
            enhanced: None,
            lines: [host].into_iter().chain(offer.iter().map(keyword)).collect(),
            origin: Origin::Table,
            takes_id: false,
        }
    }

    /// The reply to what the policy refuses. `domain` is the recipient's, if it has one;
    /// `is_temporary`: the refusal of that domain is.
    #[must_use]
    pub fn refusal(
        &self,
        refusal: Refusal,
        is_temporary: bool,
        Endpoints { source, destination, .. }: Endpoints,
        domain: Option<&str>,
    ) -> Reply {
        let (kind, subject) = match refusal {
            Refusal::AddressNotOptedIn | Refusal::DomainNotOptedIn => {
                let kind = if is_temporary { ReplyKind::NotOptedInTemporary } else { ReplyKind::NotOptedIn };
                // what is not a domain name (RFC 5321 4.1.2) is never echoed
                let domain = domain.filter(|domain| is_domain_name(domain.as_bytes()));
                (kind, domain.map_or_else(|| destination.to_string(), str::to_owned))
            }
            Refusal::DnsFailure => (ReplyKind::DnsFailure, String::new()),
            Refusal::NoPtr => (ReplyKind::NoPtr, source.to_string()),
            Refusal::PtrNotConfirmed => (ReplyKind::PtrNotConfirmed, source.to_string()),
            Refusal::Routed => (ReplyKind::Routed, String::new()),
            Refusal::NotAuthenticated | Refusal::NullSender => {
                (ReplyKind::NotAuthenticated, source.to_string())
            }
            Refusal::TestingKey => (ReplyKind::TestingKey, source.to_string()),
        };
        self.reply_about(kind, &subject)
    }

    /// A reply of the refusing dialogue, about `subject` where it is about something.
    #[must_use]
    pub fn refusing(&self, id: ReplyId, subject: &str) -> Reply {
        let kind = match id {
            ReplyId::Ehlo => {
                return self.ehlo(&[
                    Extension::Size(self.message_size_max),
                    Extension::EightBitMime,
                    Extension::SmtpUtf8,
                    Extension::EnhancedStatusCodes,
                ]);
            }
            ReplyId::Greeting => ReplyKind::Greeting,
            ReplyId::GreetingRefused => ReplyKind::GreetingRefused,
            ReplyId::Helo => ReplyKind::Helo,
            ReplyId::NoName => ReplyKind::NoName,
            ReplyId::Mail => ReplyKind::Mail,
            ReplyId::NotOptedIn => ReplyKind::NotOptedIn,
            ReplyId::NotOptedInTemporary => ReplyKind::NotOptedInTemporary,
            ReplyId::NoPtr => ReplyKind::NoPtr,
            ReplyId::NoRecipients => ReplyKind::NoRecipients,
            ReplyId::BadSequence => ReplyKind::BadSequence,
            ReplyId::Rset => ReplyKind::Rset,
            ReplyId::Noop => ReplyKind::Noop,
            ReplyId::Vrfy => ReplyKind::Vrfy,
            ReplyId::Help => ReplyKind::Help,
            ReplyId::Quit => ReplyKind::Quit,
            ReplyId::NotOffered => ReplyKind::NotOffered,
            ReplyId::Syntax => ReplyKind::Syntax,
            ReplyId::TooLong => ReplyKind::TooLong,
            ReplyId::Unknown => ReplyKind::Unknown,
            ReplyId::TooManyCommands => ReplyKind::TooManyCommands,
            ReplyId::BareLineEnd => ReplyKind::BareCommand,
        };
        self.reply_about(kind, subject)
    }
}

/// An extension that EHLO may offer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Extension {
    /// RFC 3030, without BINARYMIME.
    Chunking,
    /// 8BITMIME of RFC 6152.
    EightBitMime,
    /// ENHANCEDSTATUSCODES of RFC 2034.
    EnhancedStatusCodes,
    /// PIPELINING of RFC 2920.
    Pipelining,
    /// RFC 1870, the limit in octets.
    Size(u64),
    /// SMTPUTF8 of RFC 6531.
    SmtpUtf8,
    /// STARTTLS of RFC 3207.
    StartTls,
}
