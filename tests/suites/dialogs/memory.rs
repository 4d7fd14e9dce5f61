//! The same scripts against the session alone, in memory: no socket, no daemon, no DNS server, no
//! root.
//!
//! What would be looked up is read off the script, see `sixgate_tests::dialog::facts`. Every
//! message passes SPF here; scripts whose point is another result run over a socket only.

use std::{net::Ipv6Addr, path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::BufMut;
use sixgate_smtp::{
    command::{Mailbox, RcptTo},
    policy::{
        Stage, Verdict, decide,
        evidence::{Endpoints, Evidence, OptInStatus, RecipientEvidence},
    },
    reply::{Reply, ReplyKind, ReplyTable},
    session::{Admission, Offer, Session, SessionParameters, Task},
};
use sixgate_tests::dialog::{
    Script, Step,
    facts::{Facts, endpoints},
};

/// Runs one script.
pub(crate) fn run(path: &Path) -> Result<()> {
    let script = Script::read(path)?;
    let mut desk = Desk::new(&script)?;
    let mut client: Option<Client> = None;
    for (place, step) in &script.steps {
        client = desk.step(client, step).with_context(|| place.to_string())?;
    }
    finish(client)?;
    let (wanted, found) = (script.delivered.len(), desk.delivered);
    ensure!(found == wanted, "{found} message(s) delivered, {wanted} expected");
    Ok(())
}

/// The facts and decisions that the daemon would supply.
struct Desk {
    facts: Facts,
    table: Arc<ReplyTable>,
    now: Instant,
    delivered: usize,
}

/// The sender's side of a session.
struct Client {
    session: Session,
    endpoints: Endpoints,
    /// Output of the session that the client has not read yet.
    unheard: String,
}

impl Desk {
    fn new(script: &Script) -> Result<Self> {
        let facts = Facts::new(script)?;
        Ok(Self { table: Arc::new(facts.config.reply_table()), now: Instant::now(), delivered: 0, facts })
    }

    fn step(&mut self, client: Option<Client>, step: &Step) -> Result<Option<Client>> {
        if let Step::Connect { source, destination } = step {
            finish(client)?;
            return self.connect(source.parse()?, destination.parse()?).map(Some);
        }
        let mut client = client.context("there is no session")?;
        match step {
            Step::Connect { .. } => {}
            Step::Say(line) => self.hear(&mut client, format!("{line}\r\n").as_bytes())?,
            Step::SayOctets(octets) => self.hear(&mut client, octets)?,
            Step::Hear(wanted) => {
                let line = client.line()?;
                ensure!(line == *wanted, "heard  {line:?}\nwanted {wanted:?}");
            }
            Step::HearStart(wanted) => {
                let line = client.line()?;
                ensure!(line.starts_with(wanted), "heard  {line:?}\nwanted {wanted:?}…");
            }
            Step::Closed => {
                ensure!(client.session.is_closing(), "the session goes on");
                return finish(Some(client)).map(|()| None);
            }
        }
        Ok(Some(client))
    }

    fn connect(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Result<Client> {
        let endpoints = endpoints(source, destination);
        let limits = &self.facts.config.limits;
        let reason = self.facts.refusal(&endpoints);
        let refuse_at = self.facts.config.refuse_at.number();
        let parameters = SessionParameters {
            id: String::new(),
            table: Arc::clone(&self.table),
            endpoints,
            admission: reason.map_or(Admission::Serve, |reason| Admission::Refuse { reason, refuse_at }),
            mode: self.facts.config.mode,
            offer: Offer {
                eight_bit_mime: true,
                size: true,
                smtp_utf8: true,
                start_tls: false,
                message_size: limits.message_size.get().into(),
            },
            limits: limits.session(),
            temporary: Arc::new(self.facts.store.temporary_domains()),
        };
        let mut client =
            Client { session: Session::new(parameters, self.now), endpoints, unheard: String::new() };
        client.listen()?;
        Ok(client)
    }

    fn hear(&mut self, client: &mut Client, octets: &[u8]) -> Result<()> {
        let mut rest = octets;
        while !rest.is_empty() {
            let mut space = client.session.poll_space(rest.len());
            let (front, back) = rest.split_at(space.remaining_mut());
            space.put_slice(front);
            rest = back;
        }
        client.session.handle_input(self.now);
        while let Some(task) = client.session.poll_task() {
            match task {
                // what is not offered is not asked for
                Task::Begin { .. } | Task::Abandon | Task::StartTls => {}
                Task::Recipient { recipient, .. } => {
                    let reply = self.judge_recipient(&client.endpoints, &recipient);
                    client.session.answer_recipient(self.now, &reply);
                }
                Task::Content(_) => client.session.answer_content(self.now, Ok(())),
                Task::Message { .. } => {
                    let reply = self.judge_message(&client.endpoints);
                    client.session.answer_message(self.now, &reply);
                }
            }
        }
        client.listen()
    }

    fn judge_recipient(&self, endpoints: &Endpoints, recipient: &RcptTo) -> Reply {
        let listed = recipient.mailbox().is_none_or(|mailbox| {
            mailbox.domain_name().is_some_and(|domain| self.facts.store.takes_domain(domain))
        });
        let domain = recipient.mailbox().and_then(Mailbox::domain_name);
        let recipient = RecipientEvidence {
            domain: if listed { OptInStatus::OptedIn } else { OptInStatus::NotOptedIn },
            asks_for_routing: recipient.mailbox().is_some_and(Mailbox::asks_for_routing),
        };
        let evidence = Evidence { recipient: Some(recipient), ..self.facts.evidence(endpoints) };
        match decide(&self.facts.policy, Stage::Recipient, &evidence) {
            Verdict::Refuse(refusal) => self.table.refusal(refusal, false, *endpoints, domain),
            Verdict::Accept | Verdict::AcceptInShadow(_) => self.table.reply(ReplyKind::Recipient),
        }
    }

    fn judge_message(&mut self, endpoints: &Endpoints) -> Reply {
        match decide(&self.facts.policy, Stage::Message, &self.facts.evidence(endpoints)) {
            Verdict::Refuse(refusal) => self.table.refusal(refusal, false, *endpoints, None),
            Verdict::Accept | Verdict::AcceptInShadow(_) => {
                self.delivered += 1;
                self.table.reply_about(ReplyKind::Delivered, "memory")
            }
        }
    }
}

impl Client {
    fn listen(&mut self) -> Result<()> {
        self.unheard += std::str::from_utf8(&self.session.poll_output())?;
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let (line, rest) = self.unheard.split_once("\r\n").context("nothing is said")?;
        let line = line.to_owned();
        self.unheard = rest.to_owned();
        Ok(line)
    }
}

/// Ends the session from the sender's side: nothing may be left that the script does not know.
fn finish(client: Option<Client>) -> Result<()> {
    let unheard = client.map(|client| client.unheard).unwrap_or_default();
    ensure!(unheard.is_empty(), "said besides: {unheard:?}");
    Ok(())
}
