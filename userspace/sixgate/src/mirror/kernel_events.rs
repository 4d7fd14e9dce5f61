//! The sessions that the XDP program refuses by itself, as the daemon logs and counts them.
//!
//! It refuses nothing: without the daemon the same senders get the same replies.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use sixgate_common::{event::Ending, refuse::ReplyId};
use sixgate_dataplane::{KernelEvent, KernelProgress, monotonic_nanoseconds};
use sixgate_smtp::session::SessionTally;
use tokio::time::sleep;
use tracing::info;

use crate::{
    mirror::kernel_maps::KernelMaps,
    services::{InForce, Services},
    session_id::SessionId,
    session_log::{PostfixClient, Rejection, SessionSummary, SummaryDraft},
    shown::{self, RefusalFields, list_name, reason_name},
};

/// Follows EVENTS for ever. The program wakes no reader, so this looks by itself.
pub(crate) async fn follow(maps: Arc<KernelMaps>, in_force: InForce) {
    loop {
        let services = in_force.get();
        for event in maps.take_events(EVENTS_MAX) {
            note(&services, &event);
        }
        sleep(PAUSE).await;
    }
}

fn note(services: &Services, event: &KernelEvent) {
    match event {
        KernelEvent::Recipient(progress) if services.session_log.is_postfix() => {
            let summary = summary(services, Ending::Refused, progress);
            log_rejections(&PostfixClient::of(&summary), &summary);
        }
        KernelEvent::Recipient(progress) => log_recipient(services, progress),
        KernelEvent::Ended { ending, progress } => {
            services.metrics.kernel_session(reason_name(progress.session.reason), ending_name(*ending));
            let summary = summary(services, *ending, progress);
            if services.session_log.is_postfix() {
                log_as_postfix(*ending, &summary);
            } else {
                log(services, *ending, progress);
            }
            services.session_log.publish(summary);
        }
    }
}

/// The line that the daemon logs of its own refused sessions, too.
fn log(services: &Services, ending: Ending, progress: &KernelProgress) {
    let KernelProgress { session, at, commands, .. } = progress;
    let duration = Duration::from_nanos(at.saturating_sub(session.opened));
    let fields = fields(services, progress);
    info!(
        id = %SessionId::of_kernel(session),
        source = %session.source().ip(),
        destination = %session.destination().ip(),
        reason = reason_name(session.reason),
        list = list_name(session.reason),
        mail_from = fields.mail_from,
        recipient = fields.recipient,
        domain = fields.domain,
        reply = fields.reply,
        at = timestamp(*at),
        duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        commands,
        ending = ending_name(ending),
        answer = ANSWER,
        "refused"
    );
}

/// All lines of a session at once, when it has ended.
fn log_as_postfix(ending: Ending, summary: &SessionSummary) {
    let client = PostfixClient::of(summary);
    client.connect();
    log_rejections(&client, summary);
    if matches!(ending, Ending::Closed | Ending::Reset) {
        let after = summary.rejections.last().map_or("CONNECT", |rejection| rejection.command);
        client.broken("lost connection", after);
    }
    client.disconnect(summary);
}

fn log_rejections(client: &PostfixClient, summary: &SessionSummary) {
    summary.rejections.iter().for_each(|rejection| client.reject(rejection));
}

/// The summary of a session that has ended, as far as its record goes. Only the last refusal is in
/// it: the earlier ones had records of their own.
fn summary(services: &Services, ending: Ending, progress: &KernelProgress) -> SessionSummary {
    let KernelProgress { session, at, .. } = progress;
    let (fields, reason) = (fields(services, progress), reason_name(session.reason));
    let (source, destination) = (session.source(), session.destination());
    let mut draft = SummaryDraft::default();
    if let Some(reply) = fields.reply {
        draft.add(Rejection {
            command: if fields.recipient.is_some() { "RCPT" } else { "CONNECT" },
            reason,
            reply,
            mail_from: fields.mail_from,
            recipient: fields.recipient,
            ..Rejection::default()
        });
    }
    SessionSummary {
        id: SessionId::of_kernel(session),
        by_kernel: true,
        ended: instant(*at),
        duration: Duration::from_nanos(at.saturating_sub(session.opened)),
        source: *source.ip(),
        source_port: source.port(),
        destination: *destination.ip(),
        client_name: None,
        helo: None,
        tls: None,
        trusted_by: None,
        tally: SessionTally::of_total(progress.commands.into()),
        rejections: draft.rejections,
        reasons: draft.reasons,
        ending: ending_name(ending),
    }
}

/// A recipient of a session that named another one afterwards.
fn log_recipient(services: &Services, progress: &KernelProgress) {
    let session = progress.session;
    let fields = fields(services, progress);
    info!(
        id = %SessionId::of_kernel(&session),
        source = %session.source().ip(),
        destination = %session.destination().ip(),
        reason = reason_name(session.reason),
        list = list_name(session.reason),
        mail_from = fields.mail_from,
        recipient = fields.recipient,
        domain = fields.domain,
        reply = fields.reply,
        at = timestamp(progress.at),
        answer = ANSWER,
        "recipient refused"
    );
}

fn fields(services: &Services, progress: &KernelProgress) -> RefusalFields {
    let KernelProgress { session, sender, recipient, refused, .. } = progress;
    let reply = refused.map(|id| {
        let subject = match (id, shown::domain(recipient)) {
            (ReplyId::NoPtr, _) => session.source().ip().to_string(),
            (ReplyId::NotOptedIn | ReplyId::NotOptedInTemporary, Some(domain)) => domain.to_owned(),
            _ => session.destination().ip().to_string(),
        };
        services.replies.refusing(id, &subject)
    });
    RefusalFields::of(sender, recipient, reply.as_ref())
}

/// The time of the log's clock at an instant of CLOCK_MONOTONIC.
pub(crate) fn timestamp(at: u64) -> String {
    format!("{:.6}", instant(at))
}

fn instant(at: u64) -> Timestamp {
    let ago = Duration::from_nanos(monotonic_nanoseconds().saturating_sub(at));
    Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::UNIX_EPOCH)
}

const fn ending_name(ending: Ending) -> &'static str {
    match ending {
        Ending::Quit => "quit",
        Ending::Closed => "closed",
        Ending::Reset => "reset",
        Ending::Dismissed => "dismissed",
        Ending::Refused => "refused",
    }
}

/// Who answered, in the log.
const ANSWER: &str = "kernel";
/// Pause between two looks at EVENTS. The ring buffer holds what the program reports in almost two
/// seconds at most.
const PAUSE: Duration = Duration::from_millis(500);
/// Records that are taken at one look: as many as the ring buffer holds, so that a flood does not
/// keep the daemon.
const EVENTS_MAX: usize = 16 * 1024;
