//! One connection to a mail server: commands out, replies in, each within its time.
//!
//! It owns the buffers and the waits; it does not know in which order commands make sense.

use std::{io, net::IpAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, error::Elapsed, timeout_at},
};
use tracing::debug;

use super::{
    block::Block,
    data::{DotStuffer, FINAL_DOT},
    ehlo::Offer,
    fault::Fault,
    reader::{ReplyReader, ServerReply},
    stream::{self, Stream},
};
use sixgate_base::fair_semaphore::Permit;
use sixgate_smtp::{command::RcptTo, reply::Reply};

use crate::{
    message_store::Outgoing,
    nexthop::{
        address::Address,
        client::ClientInfo,
        error::{NextHopError, Step, as_value},
    },
};

/// Octets of the message that are sent at a time.
const BLOCK: usize = 64 * 1024;
/// Longest time for one block (RFC 5321 4.5.3.2.5).
const BLOCK_MAX: Duration = Duration::from_secs(3 * 60);
/// Longest time for the message up to the final dot, as long as a sender waits for the reply to its
/// own (RFC 5321 4.5.3.2.6).
const MESSAGE_MAX: Duration = Duration::from_secs(10 * 60);
/// Longest time from the final dot to its reply (RFC 5321 4.5.3.2.6).
const FINAL_MAX: Duration = Duration::from_secs(10 * 60);
/// Longest time for the rest of a reply that began while the message was being sent.
const EARLY_MAX: Duration = Duration::from_secs(10);
/// Octets that are read at a time.
const READ: usize = 4096;

/// How far a dialogue came that we did nothing wrong in.
pub(super) enum DialogueProgress {
    /// As far as it was meant to.
    Ready(Box<Connection>),
    /// The next hop refused, with this answer for the sender.
    Refused(Reply),
}

/// A connection that is up, as far as is known.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// Its permit; given back once the stream is closed. None: a probe's.
    pub(super) permit: Option<Permit>,
    address: Address,
    reader: ReplyReader,
    /// The server replied 421: it closes the connection.
    closing: bool,
    /// It rejected EHLO, and accepted HELO.
    pub(super) rejected_ehlo: bool,
    /// What it offers, to this client.
    pub(super) offer: Offer,
    /// The client whose identity it was sent.
    pub(super) client: Option<ClientInfo>,
    /// Whether MAIL was accepted and the transaction has not ended.
    pub(super) in_transaction: bool,
}

impl Connection {
    pub(super) async fn connect(address: &Address, deadline: Instant) -> Result<Box<Self>, NextHopError> {
        let step = Step::Connect;
        let stream = timeout_at(deadline, stream::connect(address))
            .await
            .map_err(|_| NextHopError::Timeout { address: address.clone(), step })?
            .map_err(|source| NextHopError::Connection { address: address.clone(), step, source })?;
        Ok(Box::new(Self {
            stream,
            permit: None,
            address: address.clone(),
            reader: ReplyReader::default(),
            closing: false,
            rejected_ehlo: false,
            offer: Offer::default(),
            client: None,
            in_transaction: false,
        }))
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// The address that the server has for us; none where it has none.
    pub(super) fn own_address(&self) -> Option<IpAddr> {
        stream::own_address(&self.stream)
    }

    /// Whether the server is on this host, at the address that it was connected to.
    pub(super) fn is_to_this_host(&self) -> bool {
        stream::is_to_this_host(&self.stream)
    }

    /// Sends a command and waits for its reply. `line` ends with CRLF.
    pub(super) async fn command(
        &mut self,
        step: Step,
        line: &str,
        deadline: Instant,
    ) -> Result<ServerReply, NextHopError> {
        self.check_quiet(step)?;
        self.write(step, line.as_bytes(), deadline).await?;
        self.reply(step, deadline).await
    }

    /// The next reply.
    pub(super) async fn reply(&mut self, step: Step, deadline: Instant) -> Result<ServerReply, NextHopError> {
        loop {
            let reply = self.reader.poll_reply();
            let bad = |source| NextHopError::BadReply { address: self.address.clone(), step, source };
            if let Some(reply) = reply.map_err(bad)? {
                self.closing |= reply.code() == 421;
                return Ok(reply);
            }
            let input = self.reader.input();
            input.reserve(READ);
            let read = timeout_at(deadline, self.stream.read_buf(input))
                .await
                .map_err(|_| self.timeout(step))?
                .map_err(|source| self.failed(step, source))?;
            if read == 0 {
                return Err(self.closed(step));
            }
        }
    }

    /// RCPT, and its answer for the sender.
    pub(super) async fn recipient(
        &mut self,
        rcpt: &RcptTo,
        deadline: Instant,
    ) -> Result<Reply, NextHopError> {
        let line = format!("RCPT TO:<{rcpt}>\r\n");
        let reply = self.command(Step::Rcpt, &line, deadline).await?;
        self.answer(Step::Rcpt, &reply)
    }

    /// A reply as the sender's answer.
    ///
    /// # Errors
    /// It is neither a success nor a refusal, or a refusal that is our fault: it is for the log,
    /// and the connection is to be given up.
    pub(super) fn answer(&self, step: Step, reply: &ServerReply) -> Result<Reply, NextHopError> {
        let answer = Reply::from_next_hop(reply.code(), reply.lines());
        let answer = answer.ok_or_else(|| self.meaningless(step, reply))?;
        match Fault::of(step, &answer) {
            Fault::Ours if !answer.is_positive() => Err(self.refused(step, reply)),
            Fault::Ours | Fault::Sender => Ok(answer),
        }
    }

    /// A reply as the sender's answer where only a refusal makes sense.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn refusal(&self, step: Step, reply: &ServerReply) -> Result<Reply, NextHopError> {
        match self.answer(step, reply)? {
            answer if answer.is_positive() => Err(self.meaningless(step, reply)),
            answer => Ok(answer),
        }
    }

    /// Whether the connection can take a command: the server neither closed it nor sent an unasked
    /// reply, which would be 421.
    pub(super) fn is_usable(&self) -> bool {
        let quiet = self.check_quiet(Step::Idle);
        if let Err(error) = &quiet {
            debug!(error = as_value(error), "the next hop went away");
        }
        !self.closing && quiet.is_ok()
    }

    /// Whether the server was sent the identity of this client, or takes none.
    pub(super) fn serves(&self, client: &ClientInfo) -> bool {
        self.client.as_ref().is_none_or(|sent| sent == client)
    }

    /// Sends the message, all but the final dot, which must not follow when this gives a reply: a
    /// server that answers before the end does not want the rest.
    pub(super) async fn send_message(
        &mut self,
        message: &Outgoing,
    ) -> Result<Option<ServerReply>, NextHopError> {
        let deadline = Instant::now() + MESSAGE_MAX;
        let unframed = |source| NextHopError::Unframed { source };
        if !self.reader.is_empty() {
            return self.early_reply().await.map(Some);
        }
        let mut stuffer = DotStuffer::default();
        let mut block = Block::default();
        let mut chunks = message.chunks();
        while let Some(chunk) = chunks.next().await.map_err(|source| NextHopError::Unreadable { source })? {
            stuffer.stuff(&chunk, |slice| block.push(slice)).map_err(unframed)?;
            if block.len() >= BLOCK
                && let Some(reply) = self.send_block(&mut block, deadline).await?
            {
                return Ok(Some(reply));
            }
        }
        stuffer.finish().map_err(unframed)?;
        if let Some(reply) = self.send_block(&mut block, deadline).await? {
            return Ok(Some(reply));
        }
        match self.check_quiet(Step::Message) {
            Ok(()) => Ok(None),
            Err(NextHopError::Unasked { .. }) => self.early_reply().await.map(Some),
            Err(error) => Err(error),
        }
    }

    /// Sends the final dot and waits for its reply.
    pub(super) async fn finish_message(&mut self) -> Result<ServerReply, NextHopError> {
        let step = Step::FinalDot;
        let deadline = Instant::now() + FINAL_MAX;
        self.write(step, FINAL_DOT, deadline).await?;
        self.reply(step, deadline).await
    }

    /// Sends QUIT and closes the stream.
    pub(super) async fn quit(mut self: Box<Self>, deadline: Instant) {
        if let Err(error) = self.command(Step::Quit, "QUIT\r\n", deadline).await {
            debug!(error = as_value(&error), "the next hop did not reply to QUIT");
        }
    }

    /// Sends the block and empties it. Gives the reply that came before the block was gone.
    async fn send_block(
        &mut self,
        block: &mut Block,
        deadline: Instant,
    ) -> Result<Option<ServerReply>, NextHopError> {
        let step = Step::Message;
        let deadline = deadline.min(Instant::now() + BLOCK_MAX);
        let input = self.reader.input();
        input.reserve(READ);
        block.seal();
        let sent = {
            let (mut from, mut to) = stream::split(&mut self.stream);
            tokio::select! {
                biased;
                read = from.read_buf(input) => Sent::Interrupted(read),
                written = timeout_at(deadline, to.write_all_buf(block)) => Sent::Written(written),
            }
        };
        block.clear();
        match sent {
            Sent::Written(Ok(Ok(()))) => Ok(None),
            Sent::Written(Err(_)) => Err(self.timeout(step)),
            // A server that refuses the rest may do so by closing right after its reply.
            Sent::Written(Ok(Err(source))) | Sent::Interrupted(Err(source)) => {
                match self.early_reply().await {
                    Ok(reply) => Ok(Some(reply)),
                    Err(_) => Err(self.failed(step, source)),
                }
            }
            Sent::Interrupted(Ok(0)) => Err(self.closed(step)),
            Sent::Interrupted(Ok(_)) => self.early_reply().await.map(Some),
        }
    }

    async fn early_reply(&mut self) -> Result<ServerReply, NextHopError> {
        self.reply(Step::Message, Instant::now() + EARLY_MAX).await
    }

    /// Sends octets that no reply is waited for.
    pub(super) async fn write(
        &mut self,
        step: Step,
        octets: &[u8],
        deadline: Instant,
    ) -> Result<(), NextHopError> {
        timeout_at(deadline, self.stream.write_all(octets))
            .await
            .map_err(|_| self.timeout(step))?
            .map_err(|source| self.failed(step, source))
    }

    fn check_quiet(&self, step: Step) -> Result<(), NextHopError> {
        let unasked = || NextHopError::Unasked { address: self.address.clone(), step };
        if !self.reader.is_empty() {
            return Err(unasked());
        }
        match stream::waiting(&self.stream) {
            Ok(None) => Ok(()),
            Ok(Some(0)) => Err(self.closed(step)),
            Ok(Some(_)) => Err(unasked()),
            Err(source) => Err(self.failed(step, source)),
        }
    }

    fn timeout(&self, step: Step) -> NextHopError {
        NextHopError::Timeout { address: self.address.clone(), step }
    }

    fn closed(&self, step: Step) -> NextHopError {
        NextHopError::Closed { address: self.address.clone(), step }
    }

    fn failed(&self, step: Step, source: io::Error) -> NextHopError {
        NextHopError::Connection { address: self.address.clone(), step, source }
    }

    pub(super) fn refused(&self, step: Step, reply: &ServerReply) -> NextHopError {
        NextHopError::Refused { address: self.address.clone(), step, reply: reply.to_string() }
    }

    fn meaningless(&self, step: Step, reply: &ServerReply) -> NextHopError {
        NextHopError::Meaningless { address: self.address.clone(), step, reply: reply.to_string() }
    }
}

/// What came of sending a block while listening.
enum Sent {
    /// The server sent something, or closed the connection, before the block was gone.
    Interrupted(io::Result<usize>),
    Written(Result<io::Result<()>, Elapsed>),
}
