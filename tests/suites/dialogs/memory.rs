//! The same scripts against the session alone, in memory: no socket, no daemon, no DNS server, no root.
//!
//! What would be looked up is read off the script: who has opted in from its SETUP lines, reverse DNS from its zone.
//! Every message passes SPF here; scripts whose point is another result run over a socket only.

use std::{
    net::Ipv6Addr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, bail, ensure};
use sixgate::{
    config::Config,
    policy::{
        Policy, Refusal, Stage, Verdict, decide,
        evidence::{
            Endpoints, Evidence, PtrEvidence, RecipientEvidence, SpfCheck, SpfEvidence, SpfReason, SpfResult,
            Standing, Unanswered,
        },
    },
    smtp::{
        command::{Mailbox, RcptTo},
        reply::{ReplyTable, Say},
        session::{Admission, Answer, Offer, Session, SessionParameters, Task},
    },
    store::{Contents, Entry, OptIn},
};
use sixgate_common::refuse::Reason;
use sixgate_tests::{
    dialog::{Script, Step},
    settings,
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

/// Why each session of a script is refused from its first packet, if it is: what the XDP program decides, provided that
/// it knows who has no PTR record.
pub(crate) fn refusals(script: &Script) -> Result<Vec<Option<Reason>>> {
    let desk = Desk::new(script)?;
    let connections = script.steps.iter().filter_map(|(_, step)| match step {
        Step::Connect { source, destination } => Some((source, destination)),
        _ => None,
    });
    connections
        .map(|(source, destination)| Ok(desk.refusal(&endpoints(source.parse()?, destination.parse()?))))
        .collect()
}

/// What the daemon would know and decide.
struct Desk {
    config: Config,
    table: Arc<ReplyTable>,
    policy: Policy,
    store: Contents,
    zone: String,
    now: Instant,
    delivered: usize,
}

/// The sender's side of a session.
struct Client {
    session: Session,
    endpoints: Endpoints,
    /// Said by the session, not heard yet.
    unheard: String,
}

impl Desk {
    fn new(script: &Script) -> Result<Self> {
        let mut settings = settings::usual(Path::new("/nowhere"), "[::1]:53");
        settings::lay_over(&mut settings, script.settings.parse()?);
        let config = Config::parse(&settings.to_string(), &PathBuf::from("script"))?;
        let mut store = Contents::default();
        for command in &script.setup {
            let words: Vec<&str> = command.split_whitespace().collect();
            store.add(match words[..] {
                ["optin", "add", prefix] => Entry::OptIn(sixgate::store::parse_prefix(prefix)?, OptIn::In),
                ["optin", "add", "--out", prefix] => {
                    Entry::OptIn(sixgate::store::parse_prefix(prefix)?, OptIn::Out)
                }
                ["trust", "add", prefix] => Entry::Trust(sixgate::store::parse_prefix(prefix)?),
                ["domain", "add", domain] => Entry::Domain(domain.parse()?),
                _ => bail!("no such command in memory: {command}"),
            });
        }
        Ok(Self {
            table: Arc::new(config.reply_table()),
            policy: config.policy(),
            store,
            zone: script.zone.clone(),
            now: Instant::now(),
            delivered: 0,
            config,
        })
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
        let limits = &self.config.limits;
        let reason = self.refusal(&endpoints);
        let refuse_at = self.config.refuse_at.number();
        let parameters = SessionParameters {
            table: Arc::clone(&self.table),
            endpoints,
            admission: reason.map_or(Admission::Serve, |reason| Admission::Refuse { reason, refuse_at }),
            offer: Offer {
                eight_bit_mime: true,
                size: true,
                smtp_utf8: true,
                start_tls: false,
                message_size: limits.message_size.get().into(),
            },
            limits: limits.session(),
        };
        let mut client =
            Client { session: Session::new(parameters, self.now), endpoints, unheard: String::new() };
        client.listen()?;
        Ok(client)
    }

    /// Why a session is refused before anything is said.
    fn refusal(&self, endpoints: &Endpoints) -> Option<Reason> {
        match decide(&self.policy, Stage::Connection, &self.evidence(endpoints)) {
            Verdict::Refuse(Refusal::NoPtr) => Some(Reason::NoPtr),
            Verdict::Refuse(_) => Some(Reason::NotOptedIn),
            Verdict::Accept | Verdict::AcceptInShadow(_) => None,
        }
    }

    fn hear(&mut self, client: &mut Client, octets: &[u8]) -> Result<()> {
        client.session.handle_input(self.now, octets);
        while let Some(task) = client.session.poll_task() {
            match task {
                // what is not offered is not asked for
                Task::Begin | Task::Abandon | Task::StartTls => {}
                Task::Recipient(recipient) => {
                    let answer = self.judge_recipient(&client.endpoints, &recipient);
                    client.session.answer_recipient(self.now, answer);
                }
                Task::Content(_) => client.session.answer_content(self.now, Ok(())),
                Task::Message => {
                    let answer = self.judge_message(&client.endpoints);
                    client.session.answer_message(self.now, answer);
                }
            }
        }
        client.listen()
    }

    fn judge_recipient(&self, endpoints: &Endpoints, recipient: &RcptTo) -> Answer {
        let listed = recipient.mailbox().is_none_or(|mailbox| {
            mailbox.domain_name().is_some_and(|domain| self.store.takes_domain(domain))
        });
        let recipient = RecipientEvidence {
            domain: if listed { Standing::OptedIn } else { Standing::NotOptedIn },
            asks_for_routing: recipient.mailbox().is_some_and(Mailbox::asks_for_routing),
        };
        let evidence = Evidence { recipient: Some(recipient), ..self.evidence(endpoints) };
        match decide(&self.policy, Stage::Recipient, &evidence) {
            Verdict::Refuse(refusal) => Answer::Refused(refusal),
            Verdict::Accept | Verdict::AcceptInShadow(_) => Answer::Reply(self.table.say(Say::Recipient)),
        }
    }

    fn judge_message(&mut self, endpoints: &Endpoints) -> Answer {
        match decide(&self.policy, Stage::Message, &self.evidence(endpoints)) {
            Verdict::Refuse(refusal) => Answer::Refused(refusal),
            Verdict::Accept | Verdict::AcceptInShadow(_) => {
                self.delivered += 1;
                Answer::Reply(self.table.say_about(Say::Delivered, "memory"))
            }
        }
    }

    fn evidence(&self, endpoints: &Endpoints) -> Evidence {
        let passed = SpfCheck::new("sender.example".to_owned(), SpfResult::Pass, SpfReason::Matched);
        let said = |word: &str| {
            let start = format!("{} {word}", endpoints.source);
            self.zone.lines().any(|line| line.starts_with(&start))
        };
        let ptr = if said("PTR") {
            PtrEvidence::Fail { names: Vec::new() }
        } else if said("FAULT") {
            PtrEvidence::TempError(Unanswered::Record)
        } else {
            PtrEvidence::PermError
        };
        Evidence {
            ptr: Some(ptr),
            spf: Some(SpfEvidence { helo: passed.clone(), mail_from: passed }),
            ..Evidence::at_connect(
                self.store.trusts(endpoints.source),
                self.store.destination(endpoints.destination),
            )
        }
    }
}

fn endpoints(source: Ipv6Addr, destination: Ipv6Addr) -> Endpoints {
    Endpoints { source, source_port: 1024, destination, destination_port: 25 }
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
