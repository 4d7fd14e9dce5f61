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
        let Self { stream, checks, transport, services, endpoints, refusals, summary, .. } = self;
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
            let judged = match verdict {
                Verdict::AcceptInShadow(refusal) => Some((refusal, true)),
                Verdict::Refuse(refusal) => Some((refusal, false)),
                Verdict::Accept => None,
            };
            if let Some((refusal, shadow)) = judged {
                let reply = reply_to(refusal);
                summary.add(Rejection::of_recipient(refusal.name(), &reply, mail, recipient, shadow));
            }
            match verdict {
                Verdict::AcceptInShadow(refusal) if refusals.admit() => {
                    info!(
                        reason = refusal.name(),
                        recipient = recipient.to_string(),
                        list = list_of(refusal),
                        mail_from = message_line::sender(mail),
                        reply = reply_text(&reply_to(refusal)),
                        "enforce would have refused"
                    );
                }
                Verdict::Refuse(refusal) => {
                    let reply = reply_to(refusal);
                    let not_shadowed = checks.is_shadow().then_some(true);
                    if refusals.admit() {
                        info!(
                            recipient = recipient.to_string(),
                            reason = refusal.name(),
                            not_shadowed,
                            list = list_of(refusal),
                            mail_from = message_line::sender(mail),
                            reply = reply_text(&reply),
                            trusted_by = checks.trusted_by(),
                            "recipient refused"
                        );
                    }
                    services.metrics.recipient(refusal.name());
                    if not_shadowed.is_some() {
                        services.metrics.not_shadowed(refusal.name());
                    }
                    return reply;
                }
                Verdict::Accept | Verdict::AcceptInShadow(_) => {}
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
                summary.add(Rejection::of_recipient(NEXT_HOP, &reply, mail, recipient, false));
                if refusals.admit() {
                    log_refused(recipient, mail, &reply);
                }
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
        let reply_to = |refusal| services.replies.refusal(refusal, false, checks.endpoints(), None);
        match verdict {
            Verdict::Accept => {}
            Verdict::AcceptInShadow(refusal) => {
                let reply = reply_to(refusal);
                summary.add(Rejection::of_message(refusal.name(), &reply, transaction, &message_id, true));
                info!(
                    reason = refusal.name(),
                    mail_from = message_line::sender(&transaction.mail),
                    recipients = transaction.recipients.len(),
                    to = message_line::recipients(&transaction.recipients),
                    message_id,
                    reply = reply_text(&reply),
                    "enforce would have refused"
                );
            }
            Verdict::Refuse(refusal) => {
                let reply = reply_to(refusal);
                summary.add(Rejection::of_message(refusal.name(), &reply, transaction, &message_id, false));
                message_line::log(checks, transaction, &message_id, refusal.name(), Some(&reply));
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
        if !reply.is_positive() {
            summary.add(Rejection::of_message(outcome, &reply, transaction, &message_id, false));
        }
        message_line::log(checks, transaction, &message_id, outcome, Some(&reply));
        services.metrics.message(outcome);
        Ok(reply)
    }
}

/// The reason of a refusal that is the next hop's.
const NEXT_HOP: &str = "next_hop";

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
