//! A message on its way out: the header fields in front, and what is left out of it.
//!
//! It owns the form in which a message leaves; it changes no octet of what was verified but for
//! forged results in our name, which are removed after verification (RFC 8601 5).

use jiff::{Zoned, fmt::rfc2822};
use sixgate_auth::{
    auth_results::{self, Results},
    ptr::PtrResult,
};
use sixgate_smtp::{
    received::Received,
    session::{Tls, Transaction},
};

use super::sender_checks::SenderChecks;
use crate::{
    message_store::{Outgoing, StoredMessage},
    session_id::SessionId,
};

/// Who sends what to whom, and under which name in the log.
pub(super) struct Envelope<'a> {
    pub(super) transaction: &'a Transaction,
    pub(super) tls: Option<&'a Tls>,
    pub(super) id: &'a SessionId,
}

/// The message as it leaves: results on top of the trace (RFC 8601 4.1), then what was verified,
/// without the Authentication-Results fields that claim to be ours. A first line that would
/// continue our last field is not part of a header: an empty line goes before it.
pub(super) fn outgoing(checks: &SenderChecks, envelope: &Envelope<'_>, content: StoredMessage) -> Outgoing {
    let hostname = checks.services().hostname();
    let is_exempt = checks.is_trusted();
    let results = Results {
        client: checks.endpoints().source.into(),
        ptr: checks.ptr().filter(|_| !is_exempt),
        spf: checks.spf().filter(|_| !is_exempt),
        dkim: (!is_exempt).then(|| checks.dkim()),
    };
    let results = auth_results::header(hostname, &results);
    let received = Received {
        hostname,
        endpoints: checks.endpoints(),
        tls: envelope.tls,
        source_name: checks.ptr().and_then(PtrResult::confirmed_name),
        transaction: envelope.transaction,
        id: &envelope.id.to_string(),
        date: &date(),
    };
    in_front(format!("{results}{received}"), content, hostname)
}

fn in_front(mut headers: String, content: StoredMessage, hostname: &str) -> Outgoing {
    // the head holds a whole header ([`HEAD_MAX`](crate::message_store::HEAD_MAX)): none of its
    // fields is overlooked
    if content.head().starts_with(b" ") || content.head().starts_with(b"\t") {
        headers.push_str("\r\n");
        return Outgoing::new(headers, content, &[]);
    }
    let forged = auth_results::forged(content.head(), hostname);
    Outgoing::new(headers, content, &forged)
}

fn date() -> String {
    let now = Zoned::now();
    // the year has four digits
    rfc2822::to_string(&now).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_our_results_and_nothing_of_ours_is_touched() {
        let rows: [(&str, &str); 5] = [
            ("Subject: a\r\n\r\n b\r\n", "Subject: a\r\n\r\n b\r\n"),
            ("A: 1\r\nAuthentication-Results: gate.example; x\r\nB: 2\r\n", "A: 1\r\nB: 2\r\n"),
            (" by evil.example; x\r\nA: 1\r\n", "\r\n by evil.example; x\r\nA: 1\r\n"),
            ("\tx\r\n", "\r\n\tx\r\n"),
            ("", ""),
        ];
        for (message, wanted) in rows {
            let content = StoredMessage::from(message.as_bytes().to_vec());
            let outgoing = in_front("H: h\r\n".to_owned(), content, "gate.example");
            let (mut chunks, mut left) = (outgoing.chunks(), Vec::new());
            while let Some(chunk) = chunks.next().await.expect("it is in memory") {
                left.extend_from_slice(&chunk);
            }
            assert_eq!(String::from_utf8_lossy(&left), format!("H: h\r\n{wanted}"), "{message:?}");
        }
    }
}
