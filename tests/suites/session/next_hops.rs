//! Next hops of every kind, which keep what arrives as it came over the wire.
//!
//! They refuse nothing and judge nothing: the suites do.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use sixgate_tests::site::Site;

/// A kind of next hop, and the setting that leads there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Maildir,
    SmtpTcp,
    SmtpUnix,
    LmtpTcp,
    LmtpUnix,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] =
        [Self::Maildir, Self::SmtpTcp, Self::SmtpUnix, Self::LmtpTcp, Self::LmtpUnix];
}

/// A next hop that runs as long as the test.
pub(crate) struct NextHop {
    kind: Kind,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl NextHop {
    /// Starts it beside the gate; the site is set up for it.
    pub(crate) fn start(kind: Kind, site: Site) -> (Site, Self) {
        let taken = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let path = site.folder().join("hop.sock");
        let setting = match kind {
            Kind::Maildir => return (site, Self { kind, taken }),
            Kind::SmtpTcp | Kind::LmtpTcp => {
                let address: SocketAddr = "[::1]:10025".parse().unwrap();
                let listener = site.gate.listen(address).unwrap();
                serve_tcp(listener, Arc::clone(&taken));
                address.to_string()
            }
            Kind::SmtpUnix | Kind::LmtpUnix => {
                serve_unix(UnixListener::bind(&path).unwrap(), Arc::clone(&taken));
                format!("unix:{}", path.display())
            }
        };
        let protocol = if matches!(kind, Kind::SmtpTcp | Kind::SmtpUnix) { "smtp" } else { "lmtp" };
        (site.configured(&format!("next_hop = {{ {protocol} = \"{setting}\" }}")), Self { kind, taken })
    }

    /// The messages that it took, without what the gate put in front, dots as they came over the
    /// wire; from a Maildir as they lie there.
    pub(crate) fn messages(&self, site: &Site) -> Vec<Vec<u8>> {
        let whole = match self.kind {
            Kind::Maildir => site.delivered().into_iter().map(String::into_bytes).collect(),
            _ => self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        whole.iter().map(|message| without_trace(message)).collect()
    }

    pub(crate) fn keeps_dots_doubled(&self) -> bool {
        self.kind != Kind::Maildir
    }
}

/// What comes after the Received field of the gate.
fn without_trace(message: &[u8]) -> Vec<u8> {
    let start = message.windows(10).position(|part| part == b"Received: ").expect("a Received field");
    let mut rest = &message[start..];
    loop {
        let end = rest.windows(2).position(|part| part == b"\r\n").expect("lines end") + 2;
        rest = &rest[end..];
        if !rest.starts_with(b"\t") {
            return rest.to_vec();
        }
    }
}

fn serve_tcp(listener: TcpListener, taken: Arc<Mutex<Vec<Vec<u8>>>>) {
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (reader, taken) = (stream.try_clone().unwrap(), Arc::clone(&taken));
            thread::spawn(move || serve(reader, stream, &taken));
        }
    });
}

fn serve_unix(listener: UnixListener, taken: Arc<Mutex<Vec<Vec<u8>>>>) {
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (reader, taken) = (stream.try_clone().unwrap(), Arc::clone(&taken));
            thread::spawn(move || serve(reader, stream, &taken));
        }
    });
}

/// One connection, to its end.
fn serve(reader: impl Read, mut writer: impl Write, taken: &Mutex<Vec<Vec<u8>>>) -> Option<()> {
    let mut reader = BufReader::new(reader);
    let mut say = |text: &str| writer.write_all(text.as_bytes()).ok();
    let (mut is_lmtp, mut recipients) = (false, 0);
    say("220 mx.example\r\n")?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        match line.get(..4)? {
            "EHLO" | "LHLO" => {
                is_lmtp = line.starts_with('L');
                say("250-mx.example\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n")?;
            }
            "RCPT" => {
                recipients += 1;
                say("250 2.1.5 ok\r\n")?;
            }
            "DATA" => {
                say("354 go\r\n")?;
                let message = read_message(&mut reader)?;
                taken.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                for _ in 0..if is_lmtp { recipients } else { 1 } {
                    say("250 2.0.0 taken\r\n")?;
                }
                recipients = 0;
            }
            "QUIT" => return say("221 2.0.0 bye\r\n"),
            _ => say("250 2.0.0 ok\r\n")?,
        }
    }
}

/// What comes before the final dot, as it came.
fn read_message(reader: &mut impl std::io::BufRead) -> Option<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let start = message.len();
        reader.read_until(b'\n', &mut message).ok().filter(|count| *count > 0)?;
        let is_line = start == 0 || message[..start].ends_with(b"\r\n");
        if is_line && message[start..] == *b".\r\n" {
            message.truncate(start);
            return Some(message);
        }
    }
}
