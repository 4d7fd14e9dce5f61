//! A message on its way out: the header fields in front, and what is left out of it.
//!
//! It owns the form in which a message leaves; it changes no octet of what was verified but for forged
//! results in our name, which are removed after verification (RFC 8601 5).

use std::fmt::Debug;

use jiff::{Zoned, fmt::rfc2822};
use sixgate_smtp::{
    command::{Mailbox, RcptTo},
    policy::evidence::{DkimEvidence, PtrEvidence, SpfCheck},
    received::Received,
    reply::Reply,
    session::{Hello, Tls, Transaction},
};
use tracing::info;

use crate::{
    check::auth_results,
    content::{Content, Outgoing},
    server::{inspection::Inspection, session_id::SessionId},
};

/// Who sends what to whom, and under which name in the log.
pub(crate) struct Envelope<'a> {
    pub(crate) hello: &'a Hello,
    pub(crate) transaction: &'a Transaction,
    pub(crate) tls: Option<&'a Tls>,
    pub(crate) id: &'a SessionId,
}

/// The message as it leaves: results on top of the trace (RFC 8601 4.1), then what was verified, without the
/// Authentication-Results fields that claim to be ours. A first line that would continue our last field is no part
/// of a header: an empty line goes before it.
pub(crate) fn outgoing(inspection: &Inspection, envelope: &Envelope<'_>, content: Content) -> Outgoing {
    let source = inspection.endpoints().source;
    let hostname = inspection.services().hostname.as_str();
    let results = auth_results::header(hostname, source, &inspection.evidence(None));
    let received = Received {
        hostname,
        endpoints: inspection.endpoints(),
        hello: envelope.hello,
        tls: envelope.tls,
        source_name: inspection.ptr().and_then(PtrEvidence::confirmed_name),
        transaction: envelope.transaction,
        id: &envelope.id.to_string(),
        date: &date(),
    };
    in_front(format!("{results}{received}"), content, hostname)
}

fn in_front(mut headers: String, content: Content, hostname: &str) -> Outgoing {
    // the head holds a whole header ([`HEAD_MAX`](crate::content::HEAD_MAX)): none of its fields is overlooked
    if content.head().starts_with(b" ") || content.head().starts_with(b"\t") {
        headers.push_str("\r\n");
        return Outgoing::new(headers, content, &[]);
    }
    let forged = auth_results::forged(content.head(), hostname);
    Outgoing::new(headers, content, &forged)
}

/// One line about a message that came to its end. What a stranger said is a text value: it is shown in quotation marks,
/// so that it cannot pass for other fields.
pub(crate) fn log(
    inspection: &Inspection,
    hello: &Hello,
    transaction: &Transaction,
    message_id: &str,
    outcome: &str,
    reply: Option<&Reply>,
) {
    let evidence = inspection.evidence(None);
    let trust = match (evidence.trusted, evidence.certified) {
        (true, _) => Some("prefix"),
        (false, true) => Some("certificate"),
        (false, false) => None,
    };
    let word = |result: &dyn Debug| format!("{result:?}").to_lowercase();
    let dkim: Vec<String> = inspection
        .dkim()
        .iter()
        .map(|signature| {
            let DkimEvidence { result, domain, selector, algorithm, .. } = signature;
            let tag = |name: &str, value: &str| {
                if value.is_empty() { String::new() } else { format!(" {name}={}", value.escape_default()) }
            };
            format!("{} {}", word(result), domain.escape_default())
                + &tag("s", selector)
                + &tag("a", algorithm)
                + &signature.reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
        })
        .collect();
    info!(
        outcome,
        helo = hello.name.to_string(),
        iprev = inspection.ptr().map(PtrEvidence::result),
        ptr = inspection.ptr().and_then(PtrEvidence::name),
        mail_from = sender(transaction),
        recipients = transaction.recipients.len(),
        spf = inspection.spf().map(|spf| of_spf(&spf.mail_from)),
        spf_helo = inspection.spf().map(|spf| of_spf(&spf.helo)),
        // a stranger's text: the log quotes it
        spf_explanation = inspection.spf().and_then(|spf| spf.mail_from.explanation.as_deref()),
        dkim = dkim.join(", "),
        reply = reply.map(crate::server::shown::reply_text),
        to = recipients(&transaction.recipients),
        message_id,
        trust,
        trusted_by = inspection.trusted_by(),
        "message"
    );
}

/// The sender; empty for the null path.
pub(crate) fn sender(transaction: &Transaction) -> String {
    transaction.mail.reverse_path.as_ref().map(Mailbox::to_string).unwrap_or_default()
}

/// The recipients, as many as fit into [`RECIPIENTS_SHOWN`] octets.
pub(crate) fn recipients(named: &[RcptTo]) -> String {
    let mut shown = String::new();
    for (at, recipient) in named.iter().enumerate() {
        let recipient = recipient.to_string();
        if shown.len() + recipient.len() > RECIPIENTS_SHOWN {
            shown.push_str(&format!(" and {} more", named.len() - at));
            break;
        }
        if at > 0 {
            shown.push_str(", ");
        }
        shown.push_str(&recipient);
    }
    shown
}

/// Octets of recipients in the line of a message: more than a hundred usual ones have.
const RECIPIENTS_SHOWN: usize = 4096;

/// The result, and why.
fn of_spf(check: &SpfCheck) -> String {
    format!("{} ({})", check.result.text(), check.why())
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
            let content = Content::from(message.as_bytes().to_vec());
            let outgoing = in_front("H: h\r\n".to_owned(), content, "gate.example");
            let (mut chunks, mut left) = (outgoing.chunks(), Vec::new());
            while let Some(chunk) = chunks.next().await.expect("it is in memory") {
                left.extend_from_slice(&chunk);
            }
            assert_eq!(String::from_utf8_lossy(&left), format!("H: h\r\n{wanted}"), "{message:?}");
        }
    }
}
