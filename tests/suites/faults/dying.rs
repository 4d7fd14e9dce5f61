//! A next hop that dies: at each octet of each of its replies, by each kind of next hop, and the
//! reply that the sender gets.
//!
//! It sends correct replies only as long as it lives; the suite `nexthop` has wrong ones.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Read as _, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustls::ClientConfig;
use sixgate_tests::{
    certs::Authority,
    client::Client,
    gate::{self, Need},
    site::{GATE, Site},
};

use crate::{greeted, honest_site};

/// A source that needs no DNS.
const TRUSTED: &str = "2001:db8:51::7";
const ACCEPTED: &str = "250 2.1.5 Ok";
const QUEUED: &str = "250 2.0.0 queued";
const UNAVAILABLE: &str = "451 4.4.1 Mail server is not available, please try again later.";
const LOST: &str = "451 4.4.2 Connection to the mail server was lost, please try again later.";

/// A way to a mail server behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Way {
    protocol: &'static str,
    is_unix: bool,
    client: &'static str,
}

const WAYS: [Way; 7] = [
    Way { protocol: "smtp", is_unix: false, client: "none" },
    Way { protocol: "smtp", is_unix: true, client: "none" },
    Way { protocol: "smtp", is_unix: false, client: "xclient" },
    Way { protocol: "smtp", is_unix: false, client: "proxy" },
    Way { protocol: "lmtp", is_unix: false, client: "none" },
    Way { protocol: "lmtp", is_unix: true, client: "xclient" },
    Way { protocol: "lmtp", is_unix: true, client: "proxy" },
];

/// The subject of a reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// Greeting, EHLO or LHLO, XCLIENT.
    Opening,
    Mail,
    Rcpt,
    Data,
    FinalDot,
}

const GREETING: &str = "220 mx ESMTP\r\n";
const HELLO: &str = "250-mx\r\n250-XCLIENT NAME ADDR HELO\r\n250 8BITMIME\r\n";
const FINAL: &str = "250 2.0.0 queued\r\n";

/// The replies of a connection with one message, in their order.
fn replies(way: Way) -> Vec<(Step, &'static str)> {
    let told = if way.client == "xclient" { &[GREETING, HELLO][..] } else { &[] };
    let opening = [GREETING, HELLO].iter().chain(told).map(|reply| (Step::Opening, *reply));
    let transaction = [
        (Step::Mail, "250 2.1.0 Ok\r\n"),
        (Step::Rcpt, "250 2.1.5 Ok\r\n"),
        (Step::Data, "354 go\r\n"),
        (Step::FinalDot, FINAL),
    ];
    opening.chain(transaction).collect()
}

/// The mail server. It runs as long as the test.
struct Mortal {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// After how many octets of replies a connection ends; none: it lives.
    dies_after: Option<usize>,
    /// How many connections die; then it lives.
    deaths: usize,
    /// Whether connections stay open in place of ending, without a further octet.
    is_silent: bool,
    /// Messages that came up to their final dot.
    taken: usize,
}

type Reader = BufReader<Box<dyn io::Read + Send>>;
type Writer = Box<dyn Write + Send>;

impl Mortal {
    /// Starts it beside the gate.
    fn start(way: Way, site: &Site, socket: &PathBuf) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let serve = |mut next: Box<dyn FnMut() -> Option<(Reader, Writer)> + Send>| {
            let state = Arc::clone(&state);
            thread::spawn(move || {
                while let Some((mut reader, mut writer)) = next() {
                    let state = Arc::clone(&state);
                    thread::spawn(move || {
                        let ended = converse(way, &mut reader, &mut writer, &state);
                        if ended.is_err() && lock(&state).is_silent {
                            // until the client that waits for an answer leaves
                            let _ = io::copy(&mut reader, &mut io::sink());
                        }
                    });
                }
            });
        };
        if way.is_unix {
            let listener = UnixListener::bind(socket).unwrap();
            serve(Box::new(move || {
                let (stream, _) = listener.accept().ok()?;
                Some((BufReader::new(Box::new(stream.try_clone().ok()?) as _), Box::new(stream)))
            }));
        } else {
            let listener: TcpListener = site.gate.listen("[::1]:10025".parse().unwrap()).unwrap();
            serve(Box::new(move || {
                let (stream, _) = listener.accept().ok()?;
                Some((BufReader::new(Box::new(stream.try_clone().ok()?) as _), Box::new(stream)))
            }));
        }
        Self { state }
    }

    fn die(&self, after: usize, deaths: usize) {
        let mut state = lock(&self.state);
        (state.dies_after, state.deaths) = (Some(after), deaths);
    }

    /// Stops talking after so many octets of each connection, and keeps it open.
    fn fall_silent(&self, after: usize) {
        self.die(after, usize::MAX);
        lock(&self.state).is_silent = true;
    }

    /// Lives again; how many messages it took since the last time.
    fn heal(&self) -> usize {
        let mut state = lock(&self.state);
        state.dies_after = None;
        std::mem::take(&mut state.taken)
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One connection, until one of both ends it.
fn converse(way: Way, reader: &mut Reader, writer: &mut Writer, state: &Mutex<State>) -> io::Result<()> {
    if way.client == "proxy" {
        let mut header = [0; 16];
        reader.read_exact(&mut header)?;
        let length = u16::from_be_bytes([header[14], header[15]]);
        io::copy(&mut reader.by_ref().take(length.into()), &mut io::sink())?;
    }
    let mut left = lock(state).dies_after;
    let mut say = |reply: &str| -> io::Result<()> {
        let count = left.map_or(reply.len(), |left| left.min(reply.len()));
        writer.write_all(&reply.as_bytes()[..count])?;
        left = left.map(|left| left - count);
        if count < reply.len() {
            let mut state = lock(state);
            state.deaths = state.deaths.saturating_sub(1);
            if state.deaths == 0 {
                state.dies_after = None;
            }
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    };
    say(GREETING)?;
    let mut lines = reader.lines();
    while let Some(line) = lines.next().transpose()? {
        match line.split(' ').next().unwrap_or_default() {
            "EHLO" | "LHLO" => say(HELLO)?,
            "XCLIENT" => say(GREETING)?,
            "RCPT" => say("250 2.1.5 Ok\r\n")?,
            "QUIT" => return Ok(()),
            "DATA" => {
                say("354 go\r\n")?;
                loop {
                    let line = lines.next().transpose()?.ok_or(io::ErrorKind::UnexpectedEof)?;
                    if line == "." {
                        break;
                    }
                }
                lock(state).taken += 1;
                say(FINAL)?;
            }
            _ => say("250 2.1.0 Ok\r\n")?,
        }
    }
    Ok(())
}

/// How a sender comes: in the clear, or through TLS.
#[derive(Clone)]
enum Sender {
    Plain,
    Tls(Arc<ClientConfig>),
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "in the clear",
            Self::Tls(_) => "through TLS",
        })
    }
}

impl Sender {
    fn connect(&self, site: &Site) -> Client {
        let mut client = greeted(site, TRUSTED);
        if let Self::Tls(config) = self {
            assert_eq!(client.say("STARTTLS").unwrap().code, 220);
            client.encrypt(config, "gate.example").unwrap();
            assert_eq!(client.say("EHLO mail.sender.example").unwrap().code, 250);
        }
        client
    }

    /// A session with one message: the reply to RCPT, and to the message if it gets that far.
    fn send(&self, site: &Site) -> Vec<String> {
        let mut client = self.connect(site);
        assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
        let mut heard = vec![client.say("RCPT TO:<user@contoso.com>").unwrap().unnamed().to_owned()];
        if heard == [ACCEPTED] {
            assert_eq!(client.say("DATA").unwrap().code, 354);
            heard.push(client.message("Subject: a\n\nb\n").unwrap().unnamed().to_owned());
        }
        assert_eq!(client.say("QUIT").unwrap().code, 221);
        heard
    }
}

/// Lets it die at each octet, and looks at the replies and at the messages that were taken.
fn dies_at_each_octet(way: Way, sender: &Sender, site: &Site, server: &Mortal) {
    let mut before = 0;
    for (step, reply) in replies(way) {
        for cut in 0..reply.len() {
            for deaths in [usize::MAX, 1] {
                let after = before + cut;
                server.die(after, deaths);
                let heard = sender.send(site);
                let (wanted, taken): (&[&str], _) = match (step, deaths) {
                    // a probe may have been the one that died
                    (Step::Opening | Step::Mail | Step::Rcpt, 1) => continue,
                    (Step::Opening, _) => (&[UNAVAILABLE], 0),
                    (Step::Mail | Step::Rcpt, _) => (&[LOST], 0),
                    // nothing of the message was sent: another connection does as well
                    (Step::Data, 1) => (&[ACCEPTED, QUEUED], 1),
                    (Step::Data, _) => (&[ACCEPTED, LOST], 0),
                    // the one case in which a sender sends again what is there already (RFC 1047)
                    (Step::FinalDot, _) => (&[ACCEPTED, LOST], 1),
                };
                let case = format!("{way:?}, {sender:?}: {reply:?} cut at {cut}, {deaths} times");
                assert_eq!(heard, wanted, "{case}");
                assert_eq!(server.heal(), taken, "{case}");
            }
        }
        before += reply.len();
        assert_eq!(sender.send(site), [ACCEPTED, QUEUED], "{way:?}: it lives again");
        assert_eq!(server.heal(), 1, "{way:?}");
    }
}

/// A gate with a certificate before a mail server that is not there yet, and the socket at which it
/// may be.
fn site_behind(way: Way, authority: &Authority) -> (Site, PathBuf) {
    let site = honest_site("");
    site.sixgate(&format!("trust add {TRUSTED}"));
    authority.issue("gate.example").install(site.folder()).unwrap();
    let folder = site.folder().display();
    let socket = site.folder().join("hop.sock");
    let place = if way.is_unix { format!("unix:{}", socket.display()) } else { "[::1]:10025".to_owned() };
    let settings = format!(
        "next_hop = {{ {} = \"{place}\", client = \"{}\" }}\n\
         [tls]\ncertificate = \"{folder}/certificate.pem\"\nkey = \"{folder}/key.pem\"\n",
        way.protocol, way.client
    );
    (site.configured(&settings), socket)
}

#[test]
fn a_next_hop_that_dies_at_any_octet_of_a_reply_loses_no_message() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let authority = Authority::new("of the gate");
    thread::scope(|scope| {
        for way in WAYS {
            let authority = &authority;
            scope.spawn(move || {
                let (site, socket) = site_behind(way, authority);
                let unconnected = site.serve(&["--no-xdp"]);
                let greeting = site.connect(TRUSTED, GATE).reply().unwrap();
                assert_eq!(greeting.code, 421, "{way:?}: the next hop does not listen");
                let server = Mortal::start(way, &site, &socket);
                unconnected.wait_for_log("the next hop is usable again").unwrap();
                assert_eq!(Sender::Plain.send(&site), [ACCEPTED, QUEUED], "{way:?}: it came later");
                server.heal();
                dies_at_each_octet(way, &Sender::Plain, &site, &server);
                if way == WAYS[0] {
                    let config = authority.client(None).unwrap();
                    dies_at_each_octet(way, &Sender::Tls(config), &site, &server);
                }
                let (status, log) = unconnected.stop().unwrap();
                assert!(status.success() && !log.contains("panicked"), "{log}");
            });
        }
    });
}

/// In true time: with a clock that is held, and more cases, it is in the suite `nexthop`.
#[test]
fn a_silent_next_hop_times_out_and_the_sender_gets_a_reply() {
    if !gate::require(&[Need::Root]) || !gate::long() {
        return;
    }
    let authority = Authority::new("of the gate");
    thread::scope(|scope| {
        let mut before = 0;
        for (step, reply) in replies(WAYS[0]) {
            let (after, authority) = (before + reply.len() / 2, &authority);
            before += reply.len();
            scope.spawn(move || {
                let (site, socket) = site_behind(WAYS[0], authority);
                let server = Mortal::start(WAYS[0], &site, &socket);
                let daemon = site.serve(&["--no-xdp"]);
                server.fall_silent(after);
                let mut client = Sender::Plain.connect(&site);
                client.wait_at_most(SILENCE_MAX).unwrap();
                assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 250);
                let heard = client.say("RCPT TO:<user@contoso.com>").unwrap();
                let at_rcpt = match step {
                    Step::Opening => UNAVAILABLE,
                    Step::Mail | Step::Rcpt => LOST,
                    Step::Data | Step::FinalDot => ACCEPTED,
                };
                assert_eq!(heard.unnamed(), at_rcpt, "{reply:?}");
                if at_rcpt == ACCEPTED {
                    assert_eq!(client.say("DATA").unwrap().code, 354);
                    assert_eq!(client.message("Subject: a\n\nb\n").unwrap().unnamed(), LOST, "{reply:?}");
                }
                // the daemon goes on
                server.heal();
                assert_eq!(Sender::Plain.send(&site), [ACCEPTED, QUEUED], "{reply:?}");
                assert!(daemon.stop().unwrap().0.success());
            });
        }
    });
}

/// More than the ten minutes that the reply to the final dot may take (RFC 5321 4.5.3.2.6).
const SILENCE_MAX: Duration = Duration::from_secs(11 * 60);
