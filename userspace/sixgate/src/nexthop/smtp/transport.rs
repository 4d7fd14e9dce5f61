//! One client session's dialogue with the mail server behind (RFC 5321 3.3).
//!
//! It owns the order of commands, and the one repetition of a transaction on a new connection, from
//! the envelope that `transaction` keeps; it never keeps the message. Every operation takes the
//! connection out and puts it back only when the dialogue is at a known point, so that one that was
//! dropped or failed cannot leave half a dialogue behind.

use std::{convert::Infallible, slice, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::{
    connection::{Connection, DialogueProgress},
    connection_slots::{PROMPT_RESUMPTIONS_MAX, RESUMPTIONS_MAX, SILENCE},
    own_identity::OwnIdentity,
    reader::ServerReply,
    server::{OPEN_MAX, QUIT_MAX, Smtp},
    settings::Protocol,
    transaction::OpenTransaction,
};
use sixgate_base::fair_share::Network;
use sixgate_smtp::{
    command::{MailFrom, RcptTo},
    reply::{Reply, ReplyKind},
};

use crate::{
    message_store::Outgoing,
    nexthop::{
        client::ClientInfo,
        error::{NextHopError, Step, as_value},
    },
};

/// Longest time for the reply to DATA (RFC 5321 4.5.3.2.4).
const DATA_MAX: Duration = Duration::from_secs(2 * 60);
/// Longest time for the reply to RSET.
const RESET_MAX: Duration = Duration::from_secs(10);

/// One client session's way to the mail server behind.
#[derive(Debug)]
pub(in crate::nexthop) struct SmtpTransport {
    smtp: Arc<Smtp>,
    /// The client's; none: it is trusted.
    network: Option<Network>,
    connection: Option<Box<Connection>>,
    /// When it was used last.
    used: Instant,
    transaction: Option<OpenTransaction>,
}

impl SmtpTransport {
    pub(in crate::nexthop) fn new(smtp: Arc<Smtp>, network: Option<Network>) -> Self {
        Self { smtp, network, connection: None, used: Instant::now(), transaction: None }
    }

    pub(in crate::nexthop) async fn recipient(
        &mut self,
        client: &ClientInfo,
        mail: &MailFrom,
        header_size: u64,
        rcpt: &RcptTo,
    ) -> Reply {
        let deadline = Instant::now() + OPEN_MAX;
        let begin = || OpenTransaction::new(client.clone(), mail.clone(), header_size);
        let mut transaction = self.transaction.take().unwrap_or_else(begin);
        let reply = match transaction.verdict.clone() {
            Some(verdict) => verdict,
            None if self.is_full(&transaction) => self.smtp.replies.reply(ReplyKind::OneRecipient),
            None => self.pass_on(&mut transaction, rcpt, deadline).await,
        };
        self.transaction = Some(transaction);
        reply
    }

    pub(in crate::nexthop) async fn deliver(
        &mut self,
        message: &Outgoing,
        gone: impl Future<Output = ()>,
    ) -> Reply {
        let accepted = |transaction: &OpenTransaction| !transaction.accepted.is_empty();
        let Some(mut transaction) = self.transaction.take().filter(accepted) else {
            self.reset().await;
            return self.smtp.replies.reply(ReplyKind::NoRecipients);
        };
        if let Some(verdict) = transaction.verdict.take() {
            return verdict;
        }
        let sent = tokio::select! {
            biased;
            () = gone => {
                info!("client disconnected before its message was delivered");
                self.connection = None;
                return self.smtp.replies.reply(ReplyKind::NextHopLost);
            }
            sent = self.send(&mut transaction, message) => sent,
        };
        let answer = match sent {
            Ok(DialogueProgress::Ready(connection)) => self.finish(connection).await,
            Ok(DialogueProgress::Refused(reply)) => Ok(reply),
            Err(error) => Err(error),
        };
        answer.unwrap_or_else(|error| self.failed(&error))
    }

    pub(in crate::nexthop) async fn reset(&mut self) {
        self.transaction = None;
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if connection.in_transaction {
            let reply = connection.command(Step::Rset, "RSET\r\n", Instant::now() + RESET_MAX).await;
            match reply {
                Ok(reply) if reply.is_positive() => connection.in_transaction = false,
                Ok(reply) => return info!(reply = reply.to_string(), "the next hop refused RSET"),
                Err(error) => return info!(error = as_value(&error), "the next hop was lost at RSET"),
            }
        }
        self.keep(connection);
    }

    /// Gives the connection back once it has been idle for long enough, and as soon as another
    /// client waits for one: between two transactions at once, within one after [`SILENCE`]; never
    /// resolves. A transaction that was repeated [`PROMPT_RESUMPTIONS_MAX`] times gives it back
    /// when it is idle only, and one that was repeated as often as it may be keeps it: its client
    /// is slow, and its message would never arrive.
    pub(in crate::nexthop) async fn rest(&mut self) -> Infallible {
        let resumptions = self.transaction.as_ref().map(|transaction| transaction.resumptions);
        if self.connection.is_some() && resumptions.is_none_or(|number| number < RESUMPTIONS_MAX) {
            let connection_slots = &self.smtp.connection_slots;
            let is_prompt = resumptions.is_none_or(|number| number < PROMPT_RESUMPTIONS_MAX);
            let silence = resumptions.map_or(Duration::ZERO, |_| SILENCE);
            let wanted = async {
                sleep_until(self.used + silence).await;
                connection_slots.is_waited_for().await;
            };
            tokio::select! {
                () = sleep_until(self.used + connection_slots.idle()) => {}
                () = wanted, if is_prompt => {}
            }
            self.give_back().await;
        }
        std::future::pending().await
    }

    /// Gives the connection back: other clients may need it. A transaction is repeated on another
    /// one if it goes on.
    pub(in crate::nexthop) async fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            if let Some(transaction) = &mut self.transaction {
                transaction.given_back = true;
            }
            connection.quit(Instant::now() + QUIT_MAX).await;
        }
    }

    pub(in crate::nexthop) async fn close(mut self) {
        self.give_back().await;
    }

    /// Whether the transaction has all the recipients that it may have. By LMTP that is one: the
    /// reply to its message is then the only one.
    fn is_full(&self, transaction: &OpenTransaction) -> bool {
        self.smtp.settings.protocol == Protocol::Lmtp && !transaction.accepted.is_empty()
    }

    /// Passes one recipient on.
    async fn pass_on(
        &mut self,
        transaction: &mut OpenTransaction,
        rcpt: &RcptTo,
        deadline: Instant,
    ) -> Reply {
        let mut connection = match self.start(transaction, deadline).await {
            Ok(DialogueProgress::Ready(connection)) => connection,
            Ok(DialogueProgress::Refused(reply)) => return transaction.ends_with(reply),
            Err(error) => return transaction.ends_with(self.failed(&error)),
        };
        let answer = connection.recipient(rcpt, deadline).await;
        match answer {
            Ok(reply) => {
                let reply = self.judge(&connection, transaction, slice::from_ref(rcpt), reply);
                if reply.is_positive() {
                    transaction.accepted.push(rcpt.clone());
                }
                self.keep(connection);
                reply
            }
            // it would reply the same to those that follow, too, each time on a new connection
            Err(error @ NextHopError::Refused { .. }) if transaction.accepted.is_empty() => {
                transaction.ends_with(self.failed(&error))
            }
            // it was read as a whole: the message still goes to the others, on this connection
            Err(error @ NextHopError::Refused { .. }) => {
                self.keep(connection);
                self.failed(&error)
            }
            Err(error) => self.failed(&error),
        }
    }

    /// A connection on which the next hop has accepted MAIL and the recipients so far.
    async fn start(
        &mut self,
        transaction: &mut OpenTransaction,
        deadline: Instant,
    ) -> Result<DialogueProgress, NextHopError> {
        match self.connection.take().filter(|connection| connection.is_usable()) {
            Some(connection) if connection.in_transaction => return Ok(DialogueProgress::Ready(connection)),
            Some(connection) if !connection.serves(&transaction.client) => {
                connection.quit(deadline.min(Instant::now() + QUIT_MAX)).await;
            }
            Some(connection) if transaction.accepted.is_empty() => {
                match self.mail(connection, transaction, deadline).await {
                    // It went away while it was idle: nothing was begun, so nothing is lost.
                    Err(error) if error.is_hangup() => {}
                    start => return start,
                }
            }
            _ => {}
        }
        if transaction.accepted.is_empty() {
            // it begins anew there: nothing is repeated
            transaction.given_back = false;
            self.open(transaction, deadline).await
        } else {
            let repeated = self.repeat(transaction, deadline).await;
            repeated
                .map(DialogueProgress::Ready)
                .map_err(|source| NextHopError::Replay { source: Box::new(source) })
        }
    }

    /// Opens a new connection and starts the transaction there.
    async fn open(
        &mut self,
        transaction: &OpenTransaction,
        deadline: Instant,
    ) -> Result<DialogueProgress, NextHopError> {
        match self.smtp.open(self.network, &transaction.client, deadline).await? {
            DialogueProgress::Ready(connection) => self.mail(connection, transaction, deadline).await,
            refused @ DialogueProgress::Refused(_) => Ok(refused),
        }
    }

    /// Sends MAIL and reads its reply.
    async fn mail(
        &mut self,
        mut connection: Box<Connection>,
        transaction: &OpenTransaction,
        deadline: Instant,
    ) -> Result<DialogueProgress, NextHopError> {
        let line = transaction.mail_line(&connection)?;
        let reply = connection.command(Step::Mail, &line, deadline).await?;
        let answer = connection.answer(Step::Mail, &reply)?;
        connection.in_transaction = reply.is_positive();
        if connection.in_transaction {
            return Ok(DialogueProgress::Ready(connection));
        }
        let answer = self.judge(&connection, transaction, &[], answer);
        self.keep(connection);
        Ok(DialogueProgress::Refused(answer))
    }

    /// The reply to the sender, where the next hop may have rejected us instead, which it may where
    /// it learns of no client. No sender learns of that for good: it would return the message, and
    /// the next one, until the mail server is set up otherwise.
    fn judge(
        &self,
        connection: &Connection,
        transaction: &OpenTransaction,
        recipients: &[RcptTo],
        reply: Reply,
    ) -> Reply {
        if self.smtp.settings.client.is_sent() {
            return reply;
        }
        let health = self.smtp.health();
        if reply.is_positive() {
            health.accepted();
            return reply;
        }
        let sender = transaction.mail.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default();
        let recipients = recipients.iter().map(ToString::to_string);
        let envelope: Vec<String> = recipients.chain([sender]).collect();
        let hostname = &self.smtp.settings.hostname;
        let own = OwnIdentity { address: connection.own_address(), hostname };
        if !own.is_rejected(&reply, &envelope) {
            return reply;
        }
        health.rejected_us(&reply);
        if reply.code() >= 500 { self.smtp.replies.reply(ReplyKind::NextHopUnavailable) } else { reply }
    }

    /// Starts the transaction on a new connection and has the accepted recipients accepted again.
    async fn repeat(
        &mut self,
        transaction: &mut OpenTransaction,
        deadline: Instant,
    ) -> Result<Box<Connection>, NextHopError> {
        let address = self.smtp.settings.address.clone();
        let differs = |step, reply: &Reply| NextHopError::Differs {
            address: address.clone(),
            step,
            reply: reply.to_string().trim_end().escape_debug().to_string(),
        };
        if std::mem::take(&mut transaction.given_back) {
            transaction.resumptions += 1;
            if transaction.resumptions == RESUMPTIONS_MAX {
                self.smtp.connection_slots.count_too_many_resumptions();
            }
        } else if transaction.repeated {
            return Err(NextHopError::LostAgain { address });
        } else {
            transaction.repeated = true;
            info!(next_hop = %address, "the next hop went away; the transaction is repeated on a new connection");
        }
        let mut connection = match self.open(transaction, deadline).await? {
            DialogueProgress::Ready(connection) => connection,
            DialogueProgress::Refused(reply) => return Err(differs(Step::Mail, &reply)),
        };
        for rcpt in &transaction.accepted {
            let reply = connection.recipient(rcpt, deadline).await?;
            if !reply.is_positive() {
                return Err(differs(Step::Rcpt, &reply));
            }
        }
        Ok(connection)
    }

    /// DATA and the message, all but the final dot.
    async fn send(
        &mut self,
        transaction: &mut OpenTransaction,
        message: &Outgoing,
    ) -> Result<DialogueProgress, NextHopError> {
        let (mut connection, reply) = self.data(transaction).await?;
        if reply.code() != 354 {
            let answer = connection.refusal(Step::Data, &reply)?;
            let answer = self.judge(&connection, transaction, &transaction.accepted, answer);
            self.keep(connection);
            self.reset().await;
            return Ok(DialogueProgress::Refused(answer));
        }
        match connection.send_message(message).await? {
            None => Ok(DialogueProgress::Ready(connection)),
            // The dialogue is in the middle of a message: the connection goes.
            Some(reply) => connection.refusal(Step::Message, &reply).map(DialogueProgress::Refused),
        }
    }

    /// DATA, on a new connection if the next hop hung up since the last recipient.
    async fn data(
        &mut self,
        transaction: &mut OpenTransaction,
    ) -> Result<(Box<Connection>, ServerReply), NextHopError> {
        loop {
            let DialogueProgress::Ready(mut connection) =
                self.start(transaction, Instant::now() + OPEN_MAX).await?
            else {
                // MAIL is sent again by `repeat` only, which makes an error of a refusal.
                return Err(NextHopError::LostAgain { address: self.smtp.settings.address.clone() });
            };
            match connection.command(Step::Data, "DATA\r\n", Instant::now() + DATA_MAX).await {
                Ok(reply) => return Ok((connection, reply)),
                Err(error) if error.is_hangup() && !transaction.repeated => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The final dot.
    async fn finish(&mut self, mut connection: Box<Connection>) -> Result<Reply, NextHopError> {
        let reply = connection.finish_message().await?;
        let answer = connection.answer(Step::FinalDot, &reply)?;
        connection.in_transaction = false;
        if answer.is_positive() {
            self.smtp.health().delivered();
        }
        self.keep(connection);
        Ok(answer)
    }

    /// Keeps a connection that is between two commands.
    fn keep(&mut self, connection: Box<Connection>) {
        self.connection = Some(connection).filter(|connection| connection.is_usable());
        self.used = Instant::now();
    }

    fn failed(&self, error: &NextHopError) -> Reply {
        warn!(error = as_value(error), "delivery to the next hop failed");
        self.smtp.replies.reply(error.reply_kind())
    }
}
