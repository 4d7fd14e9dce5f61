//! The lines of a session whose every recipient is refused, by the daemon: as those of the sessions
//! that the XDP program refuses.
//!
//! It owns their form; how many there may be is `refusal_lines`' and `log_limit`'s.

use sixgate_common::refuse::Reason;
use sixgate_smtp::session::{RefusedRecipient, Session};
use tracing::info;

use super::connection::Connection;
use crate::{
    session_log::Rejection,
    shown::{RefusalFields, list_name, reason_name},
};

impl Connection {
    /// Logs the session at its end, and before it each recipient but the last one.
    pub(super) fn log_refused(&mut self, session: &Session, reason: Reason) {
        let refused = session.refused();
        for recipient in &refused.recipients {
            self.summary.add(Rejection::of_refused(reason, recipient));
        }
        if let Some(greeting) = &refused.greeting {
            self.summary.add(Rejection::of_greeting(reason, greeting));
        }
        if self.services.session_log.is_postfix() {
            return self.log_rejections(session);
        }
        let (last, earlier) = match refused.recipients.split_last() {
            Some((last, earlier)) => (Some(last), earlier),
            None => (None, &[][..]),
        };
        for recipient in earlier {
            if self.refusals.admit() {
                log_recipient(recipient, reason);
            }
        }
        let fields = match last {
            Some(last) => fields(last),
            None => RefusalFields::of(&refused.sender, &[], refused.greeting.as_ref()),
        };
        info!(
            reason = reason_name(reason),
            list = list_name(reason),
            mail_from = fields.mail_from,
            recipient = fields.recipient,
            domain = fields.domain,
            reply = fields.reply,
            duration_ms = self.elapsed_ms(),
            "refused"
        );
    }
}

fn log_recipient(recipient: &RefusedRecipient, reason: Reason) {
    let fields = fields(recipient);
    info!(
        reason = reason_name(reason),
        list = list_name(reason),
        mail_from = fields.mail_from,
        recipient = fields.recipient,
        domain = fields.domain,
        reply = fields.reply,
        "recipient refused"
    );
}

fn fields(recipient: &RefusedRecipient) -> RefusalFields {
    RefusalFields::of(&recipient.sender, &recipient.recipient, Some(&recipient.reply))
}
