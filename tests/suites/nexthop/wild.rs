//! One claim, for mail servers that misbehave in any order: what the sender was told of a message
//! is true, and no message is ever handed over twice.
//!
//! The tables of single faults are in `faults`; slowness is in `times`.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use proptest::{prelude::*, test_runner::Config};
use sixgate::nexthop::Protocol;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    runtime,
};

use crate::{LMTP, SMTP, Session, Way, next_hop};

/// The server's behaviour instead of a correct reply.
#[derive(Clone, Copy, Debug)]
enum Whim {
    Good,
    /// Text of this many octets.
    Long(usize),
    Refuse,
    Defer,
    /// 421, and it closes.
    Down,
    /// It sends the reply that is due, and closes.
    Last,
    /// It sends so many octets of it, and closes.
    Cut(usize),
    Close,
    Garbage,
    /// It sends the reply twice.
    Twice,
    /// It refuses, and then sends the reply that was due.
    RefuseAndTake,
}

fn whims() -> impl Strategy<Value = Vec<Whim>> {
    let whim = prop_oneof![
        40 => Just(Whim::Good),
        2 => (0_usize..3000).prop_map(Whim::Long),
        2 => Just(Whim::Refuse),
        2 => Just(Whim::Defer),
        1 => Just(Whim::Down),
        2 => Just(Whim::Last),
        2 => (0_usize..12).prop_map(Whim::Cut),
        2 => Just(Whim::Close),
        1 => Just(Whim::Garbage),
        1 => Just(Whim::Twice),
        1 => Just(Whim::RefuseAndTake),
    ];
    proptest::collection::vec(whim, 0..60)
}

/// The commands of a client.
fn commands() -> impl Strategy<Value = Vec<&'static str>> {
    let command = prop_oneof![
        4 => Just("RCPT TO:<b@d.example>"),
        2 => Just("RCPT TO:<c@d.example>"),
        4 => Just("DATA"),
        1 => Just("RSET"),
    ];
    proptest::collection::vec(command, 1..25)
}

/// What became of a message whose end the server saw.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Fate {
    /// The server sent that reply in full.
    Taken,
    Refused,
    /// It sent no reply that counts.
    Unclear,
}

#[derive(Clone, Debug)]
struct Record {
    text: String,
    /// The recipients that it accepted with a reply.
    recipients: Vec<String>,
    fate: Fate,
}

/// The server, and its memory.
#[derive(Clone, Default)]
struct Wild {
    whims: Arc<Mutex<VecDeque<Whim>>>,
    records: Arc<Mutex<Vec<Record>>>,
}

/// A connection that is over.
struct Over;

impl Wild {
    async fn serve(self, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("a TCP socket");
            let _ = self.converse(BufReader::new(stream)).await;
        }
    }

    async fn converse(&self, mut stream: BufReader<TcpStream>) -> Result<(), Over> {
        self.say(&mut stream, "220 wild.example").await?;
        let mut recipients = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.map_err(|_| Over)? == 0 {
                return Err(Over);
            }
            let line = line.trim_end();
            match line.get(..4).unwrap_or_default() {
                "EHLO" | "LHLO" => {
                    self.say(&mut stream, "250-wild.example\r\n250 8BITMIME").await?;
                }
                "RCPT" => {
                    if self.say(&mut stream, "250 2.1.5 accepted").await? == Fate::Taken {
                        recipients.push(line.to_owned());
                    }
                }
                "DATA" => {
                    if self.say(&mut stream, "354 go").await? == Fate::Taken {
                        let text = message(&mut stream).await?;
                        let recipients = std::mem::take(&mut recipients);
                        self.decide(&mut stream, text, recipients).await?;
                    }
                }
                "QUIT" => {
                    self.say(&mut stream, "221 2.0.0 bye").await?;
                }
                _ => {
                    recipients.clear();
                    self.say(&mut stream, "250 2.0.0 well").await?;
                }
            }
        }
    }

    /// Answers the final dot.
    async fn decide(
        &self,
        stream: &mut BufReader<TcpStream>,
        text: String,
        recipients: Vec<String>,
    ) -> Result<(), Over> {
        let at = {
            let mut records = self.records.lock().expect("no panic");
            records.push(Record { text, recipients, fate: Fate::Unclear });
            records.len() - 1
        };
        let fate = match self.whims.lock().expect("no panic").front() {
            // sent, and the connection is closed
            Some(Whim::Last) => Some(Fate::Taken),
            Some(Whim::Down) => Some(Fate::Refused),
            _ => None,
        };
        let said = self.say(stream, "250 2.0.0 taken").await;
        let fate = fate.or_else(|| said.as_ref().ok().cloned()).unwrap_or(Fate::Unclear);
        self.records.lock().expect("no panic")[at].fate = fate;
        said.map(drop)
    }

    /// Sends `good`, changed by the next whim; returns the fate that this means for the message.
    async fn say(&self, stream: &mut BufReader<TcpStream>, good: &str) -> Result<Fate, Over> {
        let whim = self.whims.lock().expect("no panic").pop_front().unwrap_or(Whim::Good);
        let whole = format!("{good}\r\n");
        let refusal = "550 5.0.0 no\r\n";
        let (said, fate) = match whim {
            Whim::Good => (whole, Ok(Fate::Taken)),
            Whim::Long(length) => (format!("{good} {}\r\n", "x".repeat(length)), Ok(Fate::Taken)),
            Whim::Refuse => (refusal.to_owned(), Ok(Fate::Refused)),
            Whim::Defer => ("450 4.0.0 later\r\n".to_owned(), Ok(Fate::Refused)),
            Whim::Down => ("421 4.3.2 down\r\n".to_owned(), Err(Over)),
            Whim::Last => (whole, Err(Over)),
            Whim::Cut(octets) => (good.get(..octets).unwrap_or(good).to_owned(), Err(Over)),
            Whim::Close => (String::new(), Err(Over)),
            Whim::Garbage => ("what\r\n".to_owned(), Ok(Fate::Unclear)),
            Whim::Twice => (whole.repeat(2), Ok(Fate::Taken)),
            Whim::RefuseAndTake => (refusal.to_owned() + &whole, Ok(Fate::Refused)),
        };
        stream.get_mut().write_all(said.as_bytes()).await.map_err(|_| Over)?;
        fate
    }
}

/// A message up to its final dot.
async fn message(stream: &mut BufReader<TcpStream>) -> Result<String, Over> {
    let mut text = String::new();
    loop {
        let start = text.len();
        if stream.read_line(&mut text).await.map_err(|_| Over)? == 0 {
            return Err(Over);
        }
        if &text[start..] == ".\r\n" {
            text.truncate(start);
            return Ok(text);
        }
    }
}

/// The reply to the sender about one message, and the message's recipients.
struct Told {
    text: String,
    recipients: Vec<String>,
    code: u16,
}

/// The sender's side: every message that it tried to hand over.
async fn send(way: Way, wild: Wild, commands: &[&str]) -> Vec<Told> {
    let listener = TcpListener::bind("[::1]:0").await.expect("a port on ::1");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(wild.serve(listener));
    let mut session = Session::new(&next_hop(way, address));
    let (mut told, mut recipients) = (Vec::new(), Vec::new());
    for (at, command) in commands.iter().enumerate() {
        if *command != "DATA" {
            let reply = session.say(command).await;
            match reply {
                Some(reply) if reply.is_positive() => recipients.push((*command).to_owned()),
                Some(_) => {}
                None => recipients.clear(),
            }
            continue;
        }
        let text = format!("Subject: {at}\r\n\r\n.\r\n");
        let code = session.deliver(&[text.as_bytes()]).await.code();
        told.push(Told { text, recipients: std::mem::take(&mut recipients), code });
    }
    session.transport.close().await;
    server.abort();
    told
}

/// Holds what the sender was told against what the server did.
fn judge(way: Way, told: &[Told], records: &[Record]) -> Result<(), TestCaseError> {
    for Told { text, recipients, code } in told {
        let stuffed = text.replace("\r\n.", "\r\n..");
        let records: Vec<_> = records.iter().filter(|record| record.text.ends_with(&stuffed)).collect();
        prop_assert!(records.len() <= 1, "{text:?} was handed over twice: {records:?}");
        match records.first() {
            None => prop_assert!(*code >= 400, "{text:?} is nowhere, and the sender heard {code}"),
            Some(record) => {
                match record.fate {
                    Fate::Taken => prop_assert_eq!(*code, 250, "{:?}", record),
                    Fate::Refused => prop_assert!([550, 450, 451].contains(code), "{code} for {record:?}"),
                    Fate::Unclear => prop_assert_eq!(*code, 451, "{:?}", record),
                }
                prop_assert_eq!(&record.recipients, recipients, "{:?}", record);
                prop_assert!(way.protocol == Protocol::Smtp || recipients.len() == 1, "{record:?}");
            }
        }
    }
    prop_assert!(records.len() <= told.len(), "{records:?}");
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 400, ..Config::default() })]

    #[test]
    fn the_sender_gets_a_true_reply_with_any_server(
        whims in whims(),
        commands in commands(),
        by_lmtp in any::<bool>(),
    ) {
        let way = if by_lmtp { LMTP } else { SMTP };
        let wild = Wild { whims: Arc::new(Mutex::new(whims.into())), ..Wild::default() };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let told = runtime.block_on(send(way, wild.clone(), &commands));
        let records = wild.records.lock().expect("no panic").clone();
        judge(way, &told, &records)?;
    }
}
