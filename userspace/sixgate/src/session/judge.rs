//! Recipients and messages of a served session: what has to be known first, the verdict, and the way to the next hop.
//!
//! It decides nothing itself: `policy` and the next hop do. While they are asked, the client may leave.

use std::{sync::atomic::Ordering, time::Instant};

use sixgate_smtp::{
    command::{Mailbox, RcptTo},
    message_id,
    policy::{Refusal, Stage, Verdict},
    reply::{Origin, Reply},
    session::{Answer, Session, Transaction},
};
use tokio::io::AsyncReadExt;
use tracing::info;

use super::{
    connection::{Broken, Connection},
    message_line, outgoing,
    stream::Stream,
};
use crate::{
    content::Content,
    log_limit::DELIVERED,
    nexthop::{ClientInfo, ClientName, HEADER_ROOM},
    shown::reply_text,
};

impl Connection {
    pub(super) async fn judge_recipient(
        &mut self,
        session: &mut Session,
        recipient: &RcptTo,
    ) -> Result<Answer, Broken> {
        let Self { stream, buffer, checks, transport, services, endpoints, refusals, .. } = self;
        let (Some(hello), Some(transaction)) = (session.hello().cloned(), session.transaction().cloned())
        else {
            // the session asks about recipients within transactions only
            return Err(Broken::Gone);
        };
        let work = async {
            tokio::select! {
                () = checks.learn_ptr() => {}
                never = transport.rest() => match never {},
            }
            let verdict = checks.decide(Stage::Recipient, Some(recipient));
            let is_temporary = checks.facts().recipient.temporary;
            let reply_to = |refusal| {
                let domain = recipient.mailbox().and_then(Mailbox::domain_name);
                reply_text(&services.replies.refusal(refusal, is_temporary, *endpoints, domain))
            };
            if let Verdict::AcceptInShadow(refusal) = verdict
                && refusals.admit()
            {
                info!(
                    reason = refusal.name(),
                    recipient = recipient.to_string(),
                    list = list_of(refusal),
                    mail_from = message_line::sender(&transaction),
                    reply = reply_to(refusal),
                    "enforce would have refused"
                );
            }
            if let Verdict::Refuse(refusal) = verdict {
                let not_shadowed = checks.is_shadow().then_some(true);
                if refusals.admit() {
                    info!(
                        recipient = recipient.to_string(),
                        reason = refusal.name(),
                        not_shadowed,
                        list = list_of(refusal),
                        mail_from = message_line::sender(&transaction),
                        reply = reply_to(refusal),
                        trusted_by = checks.trusted_by(),
                        "recipient refused"
                    );
                }
                services.metrics.recipient(refusal.name());
                if not_shadowed.is_some() {
                    services.metrics.not_shadowed(refusal.name());
                }
                return if is_temporary {
                    Answer::RefusedTemporarily(refusal)
                } else {
                    Answer::Refused(refusal)
                };
            }
            let client = ClientInfo {
                endpoints: *endpoints,
                name: ClientName::from_evidence(checks.ptr()),
                helo: hello.name,
                esmtp: hello.extended,
            };
            let reply = transport.recipient(&client, &transaction.mail, HEADER_ROOM, recipient).await;
            services.metrics.recipient(if reply.is_positive() { "accepted" } else { "next_hop" });
            if !reply.is_positive() && refusals.admit() {
                log_refused(recipient, &transaction, &reply);
            }
            Answer::Reply(reply)
        };
        tokio::select! {
            answer = work => Ok(answer),
            broken = client_gone(stream, buffer, session) => Err(broken),
        }
    }

    pub(super) async fn judge_message(
        &mut self,
        session: &mut Session,
        content: Content,
    ) -> Result<Answer, Broken> {
        let Self { stream, buffer, checks, transport, services, id, .. } = self;
        let (Some(hello), Some(transaction)) = (session.hello().cloned(), session.transaction().cloned())
        else {
            // the session gives messages within transactions only
            return Err(Broken::Gone);
        };
        let tls = session.tls().cloned();
        let gone = client_gone(stream, buffer, session);
        tokio::pin!(gone);
        let message_id = message_id(content.head());
        let learn = checks.learn_message(&hello, &transaction, content.clone());
        tokio::select! {
            () = learn => {}
            broken = &mut gone => return Err(broken),
            never = transport.rest() => match never {},
        }
        let verdict = checks.decide(Stage::Message, None);
        if let Verdict::AcceptInShadow(refusal) = verdict {
            let reply = services.replies.refusal(refusal, false, checks.endpoints(), None);
            info!(
                reason = refusal.name(),
                mail_from = message_line::sender(&transaction),
                recipients = transaction.recipients.len(),
                to = message_line::recipients(&transaction.recipients),
                message_id,
                reply = reply_text(&reply),
                "enforce would have refused"
            );
        }
        if let Verdict::Refuse(refusal) = verdict {
            let reply = services.replies.refusal(refusal, false, checks.endpoints(), None);
            message_line::log(checks, &hello, &transaction, &message_id, refusal.name(), Some(&reply));
            services.metrics.message(refusal.name());
            transport.reset().await;
            return Ok(Answer::Refused(refusal));
        }
        let envelope = outgoing::Envelope { hello: &hello, transaction: &transaction, tls: tls.as_ref(), id };
        let outgoing = outgoing::outgoing(checks, &envelope, content);
        self.handed_over.store(true, Ordering::Relaxed);
        // the next hop's connection decides when the sender's disconnection comes too late
        let reply = transport.deliver(&outgoing, async { drop(gone.await) }).await;
        let outcome = if reply.is_positive() { DELIVERED } else { "next_hop" };
        message_line::log(checks, &hello, &transaction, &message_id, outcome, Some(&reply));
        services.metrics.message(outcome);
        Ok(Answer::Reply(reply))
    }
}

/// Whose refusal it is tells where to look for the reason.
fn log_refused(recipient: &RcptTo, transaction: &Transaction, reply: &Reply) {
    let (recipient, text, mail_from) =
        (recipient.to_string(), reply_text(reply), message_line::sender(transaction));
    match reply.origin() {
        Origin::NextHop => info!(recipient, reply = text, mail_from, "recipient refused by the next hop"),
        Origin::Table => info!(recipient, reply = text, mail_from, "recipient not handed on"),
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

/// Resolves when the client is gone. What it sends meanwhile is kept for later, within the session's bound. One that has
/// ended its side after QUIT is not gone: Exim leaves so, behind its last chunk, and still waits for our replies.
async fn client_gone(stream: &mut Stream, buffer: &mut [u8], session: &mut Session) -> Broken {
    loop {
        if !session.has_room() {
            // a client that talks on without waiting is looked after when it is its turn again
            return std::future::pending().await;
        }
        match stream.read(buffer).await {
            Ok(0) if session.has_quit_waiting() => return std::future::pending().await,
            Ok(0) => return Broken::Gone,
            Ok(count) => session.handle_input(Instant::now(), buffer.get(..count).unwrap_or_default()),
            Err(error) => return error.into(),
        }
    }
}
