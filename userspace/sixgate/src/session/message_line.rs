//! The line of the log about a message that was judged.
//!
//! It owns the form. The line about a message that was given up before is `record`'s.

use std::fmt::Debug;

use sixgate_auth::{dkim::DkimSignature, ptr::PtrResult, spf::SpfCheck};
use sixgate_smtp::{
    command::{MailFrom, Mailbox, RcptTo},
    reply::Reply,
    session::Transaction,
};
use tracing::info;

use super::sender_checks::SenderChecks;
use crate::shown::reply_text;

/// One line about a message that came to its end. A client's text is a text value: it is shown in
/// quotation marks, so that it cannot pass for other fields.
pub(super) fn log(
    checks: &SenderChecks,
    transaction: &Transaction,
    message_id: &str,
    outcome: &str,
    reply: Option<&Reply>,
) {
    let evidence = checks.evidence(None);
    let trust = match (evidence.trusted, evidence.certified) {
        (true, _) => Some("prefix"),
        (false, true) => Some("certificate"),
        (false, false) => None,
    };
    let lower = |result: &dyn Debug| format!("{result:?}").to_lowercase();
    let dkim: Vec<String> = checks
        .dkim()
        .iter()
        .map(|signature| {
            let DkimSignature { result, domain, selector, algorithm, .. } = signature;
            let tag = |name: &str, value: &str| {
                if value.is_empty() { String::new() } else { format!(" {name}={}", value.escape_default()) }
            };
            format!("{} {}", lower(result), domain.escape_default())
                + &tag("s", selector)
                + &tag("a", algorithm)
                + &signature.reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
        })
        .collect();
    info!(
        outcome,
        helo = transaction.hello.name.to_string(),
        iprev = checks.ptr().map(PtrResult::text),
        ptr = checks.ptr().and_then(PtrResult::name),
        mail_from = sender(&transaction.mail),
        recipients = transaction.recipients.len(),
        spf = checks.spf().map(|spf| of_spf(&spf.mail_from)),
        spf_helo = checks.spf().map(|spf| of_spf(&spf.helo)),
        // a client's text: the log quotes it
        spf_explanation = checks.spf().and_then(|spf| spf.mail_from.explanation.as_deref()),
        dkim = dkim.join(", "),
        reply = reply.map(reply_text),
        to = recipients(&transaction.recipients),
        message_id,
        trust,
        trusted_by = checks.trusted_by(),
        "message"
    );
}

/// The sender; empty for the null path.
pub(super) fn sender(mail: &MailFrom) -> String {
    mail.reverse_path.as_ref().map(Mailbox::to_string).unwrap_or_default()
}

/// The recipients, as many as fit into [`RECIPIENTS_SHOWN`] octets.
pub(super) fn recipients(named: &[RcptTo]) -> String {
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
