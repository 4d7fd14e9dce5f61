//! Recipients and messages of a served session: what has to be known first, the verdict, and the
//! way to the next hop.
//!
//! It decides nothing itself: `sixgate_smtp::policy` and the next hop do. While they are asked, the
//! client may leave.

use std::{sync::atomic::Ordering, time::Instant};

use sixgate_smtp::{
    command::{MailFrom, Mailbox, RcptTo},
    message_id,
    policy::{Refusal, Stage, Verdict},
    reply::{Origin, Reply},
    session::{Hello, Session, Tls, Transaction},
};
use tracing::info;

use super::{
    connection::{Broken, Connection},
    driver::read,
    message_line, outgoing,
    sender_checks::SenderChecks,
    stream::Stream,
};
use crate::{
    log_limit::DELIVERED,
    message_store::StoredMessage,
    metrics::NextHopStep,
    nexthop::{ClientInfo, ClientName, HEADER_RESERVE},
    session_log::Rejection,
    shown::reply_text,
};

impl Connection {
    /// The reply to a recipient: ours if it is refused, else the next hop's.
    pub(super) async fn judge_recipient(
        &mut self,
        session: &mut Session,
        recipient: &RcptTo,
        mail: &MailFrom,
        hello: &Hello,
    ) -> Result<Reply, Broken> {
        let Self { stream, checks, transport, services, endpoints, refusals, summary, id, .. } = self;
        let work = async {
            tokio::select! {
                () = checks.learn_ptr() => {}
                never = transport.rest() => match never {},
            }
            let verdict = checks.decide(Stage::Recipient, Some(recipient));
            let reply_to = |refusal| {
                let domain = recipient.mailbox().and_then(Mailbox::domain_name);
                services.replies.refusal(refusal, checks.facts().recipient.temporary, *endpoints, domain)
            };
            if let Some((refusal, shadow)) = refusal_of(verdict) {
                let reply = reply_to(refusal);
                let rejection = Rejection::of_recipient(refusal.name(), &reply, mail, recipient, shadow);
                if refusals.admit() {
                    match services.session_log.is_postfix() {
                        true => checks.postfix(*id, Some(hello)).reject(&rejection),
                        false => log_judged(checks, refusal, &rejection),
                    }
                }
                summary.add(rejection);
                if !shadow {
                    services.metrics.recipient(refusal.name());
                    if checks.is_shadow() {
                        services.metrics.not_shadowed(refusal.name());
                    }
                    return reply;
                }
            }
            let client = ClientInfo {
                endpoints: *endpoints,
                name: ClientName::from_evidence(checks.ptr()),
                helo: hello.name.clone(),
                esmtp: hello.extended,
            };
            let began = Instant::now();
            let reply = transport.recipient(&client, mail, HEADER_RESERVE, recipient).await;
            services.metrics.times().next_hop(NextHopStep::Recipient, began.elapsed());
            services.metrics.recipient(if reply.is_positive() { "accepted" } else { NEXT_HOP });
            if !reply.is_positive() {
                let rejection = Rejection::of_recipient(NEXT_HOP, &reply, mail, recipient, false);
                if refusals.admit() {
                    match services.session_log.is_postfix() {
                        true => checks.postfix(*id, Some(hello)).reject(&rejection),
                        false => log_refused(recipient, mail, &reply),
                    }
                }
                summary.add(rejection);
            }
            reply
        };
        tokio::select! {
            reply = work => Ok(reply),
            broken = client_gone(stream, session) => Err(broken),
        }
    }

    /// The reply to a message: ours if it is refused, else the next hop's.
    pub(super) async fn judge_message(
        &mut self,
        session: &mut Session,
        transaction: &Transaction,
        tls: Option<&Tls>,
        content: StoredMessage,
    ) -> Result<Reply, Broken> {
        let Self { stream, checks, transport, services, id, summary, .. } = self;
        let gone = client_gone(stream, session);
        tokio::pin!(gone);
        let message_id = message_id(content.head());
        let learn = checks.learn_message(transaction, content.clone());
        tokio::select! {
            () = learn => {}
            broken = &mut gone => return Err(broken),
            never = transport.rest() => match never {},
        }
        let verdict = checks.decide(Stage::Message, None);
        let is_postfix = services.session_log.is_postfix();
        if let Some((refusal, shadow)) = refusal_of(verdict) {
            let reply = services.replies.refusal(refusal, false, checks.endpoints(), None);
            let rejection = Rejection::of_message(refusal.name(), &reply, transaction, &message_id, shadow);
            match (is_postfix, shadow) {
                (true, _) => checks.postfix(*id, Some(&transaction.hello)).reject(&rejection),
                (false, true) => log_waived(transaction, &rejection),
                (false, false) => {
                    message_line::log(checks, transaction, &message_id, refusal.name(), Some(&reply));
                }
            }
            summary.add(rejection);
            if !shadow {
                services.metrics.message(refusal.name());
                transport.reset().await;
                return Ok(reply);
            }
        }
        let outgoing = outgoing::outgoing(checks, &outgoing::Envelope { transaction, tls, id }, content);
        self.handed_over.store(true, Ordering::Relaxed);
        // the next hop's connection decides when the sender's disconnection comes too late
        let began = Instant::now();
        let reply = transport.deliver(&outgoing, async { drop(gone.await) }).await;
        services.metrics.times().next_hop(NextHopStep::Message, began.elapsed());
        let outcome = if reply.is_positive() { DELIVERED } else { NEXT_HOP };
        let result = Rejection::of_message(outcome, &reply, transaction, &message_id, false);
        match (is_postfix, reply.is_positive()) {
            (true, true) => checks.postfix(*id, Some(&transaction.hello)).accept(&result),
            (true, false) => checks.postfix(*id, Some(&transaction.hello)).reject(&result),
            (false, _) => message_line::log(checks, transaction, &message_id, outcome, Some(&reply)),
        }
        if !reply.is_positive() {
            summary.add(result);
        }
        services.metrics.message(outcome);
        Ok(reply)
    }
}

/// The reason of a refusal that is the next hop's.
const NEXT_HOP: &str = "next_hop";

/// The refusal that is made, or that shadow mode passes on (`true`).
const fn refusal_of(verdict: Verdict) -> Option<(Refusal, bool)> {
    match verdict {
        Verdict::Accept => None,
        Verdict::AcceptInShadow(refusal) => Some((refusal, true)),
        Verdict::Refuse(refusal) => Some((refusal, false)),
    }
}

/// The line about a recipient that policy refuses.
fn log_judged(checks: &SenderChecks, refusal: Refusal, rejection: &Rejection) {
    let Rejection { reason, reply, mail_from, recipient, .. } = rejection;
    let list = list_of(refusal);
    if rejection.shadow {
        info!(reason, recipient, list, mail_from, reply, "enforce would have refused");
    } else {
        info!(
            recipient,
            reason,
            not_shadowed = checks.is_shadow().then_some(true),
            list,
            mail_from,
            reply,
            trusted_by = checks.trusted_by(),
            "recipient refused"
        );
    }
}

/// The line about a message that policy refuses and shadow mode passes on.
fn log_waived(transaction: &Transaction, rejection: &Rejection) {
    info!(
        reason = rejection.reason,
        mail_from = rejection.mail_from,
        recipients = transaction.recipients.len(),
        to = message_line::recipients(&transaction.recipients),
        message_id = rejection.message_id.as_deref().unwrap_or_default(),
        reply = rejection.reply,
        "enforce would have refused"
    );
}

/// Whose refusal it is tells where to look for the reason.
fn log_refused(recipient: &RcptTo, mail: &MailFrom, reply: &Reply) {
    let (recipient, text, mail_from) = (recipient.to_string(), reply_text(reply), message_line::sender(mail));
    match reply.origin() {
        Origin::NextHop => info!(recipient, reply = text, mail_from, "recipient refused by the next hop"),
        Origin::Table => info!(recipient, reply = text, mail_from, "recipient deferred"),
    }
}

/// Which list of the store refuses, if one does.
const fn list_of(refusal: Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::AddressNotOptedIn => Some("optin"),
        Refusal::DomainNotOptedIn => Some("domains"),
        _ => None,
    }
}

/// Resolves when the client is gone. What it sends meanwhile is kept for later, within the
/// session's bound. One that has ended its side after QUIT is not gone: Exim leaves so, behind its
/// last chunk, and still waits for our replies.
async fn client_gone(stream: &mut Stream, session: &mut Session) -> Broken {
    loop {
        if !session.accepts_input() {
            // a client that sends on without waiting is read from again after the next reply
            return std::future::pending().await;
        }
        match read(stream, session).await {
            Ok(0) if session.has_quit_waiting() => return std::future::pending().await,
            Ok(0) => return Broken::Gone,
            Ok(_) => session.handle_input(Instant::now()),
            Err(error) => return error.into(),
        }
    }
}
