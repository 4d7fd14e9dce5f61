//! A mail server that plays a script over a real socket: the replies that it sends and the commands
//! that it expects.
//!
//! It knows no SMTP but the end of a message.

use std::{
    io::{self, ErrorKind},
    path::Path,
    sync::{Arc, mpsc},
    time::Duration,
};

use sixgate::nexthop::{Address, ClientIdentity, Protocol};
use sixgate_tests::timeouts::patience;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Notify,
    task::JoinHandle,
    time::{advance, timeout},
};
use tokio_util::either::Either;

use crate::{Socket, Way};

/// Longest paused time until a client gives up.
const EVER: u32 = 60 * 60;

/// How deep placeholders contain placeholders.
const WORDS_DEEP: usize = 4;
/// Octets that no reply has.
const FLOOD: usize = 4 * 1024 * 1024;

/// Lines that several scripts share.
const WORDS: &[(&str, &str)] = &[
    ("OPEN", "GREET\nS: 250-mx.example\nS: 250-SIZE 100000\nS: 250 8BITMIME"),
    ("GREET", "HEADER\nS: 220 mx.example ESMTP\nHELLO"),
    ("LOCAL", "C! \\r\\n\\r\\n\\x00\\r\\nQUIT\\n\\x20\\x00\\x00\\x00"),
    (
        "PROXY",
        "C! \\r\\n\\r\\n\\x00\\r\\nQUIT\\n\\x21\\x21\\x00\\x24\
         \\x20\\x01\\x0d\\xb8\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01\
         \\x20\\x01\\x0d\\xb8\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x25\
         \\x9c\\x40\\x00\\x19",
    ),
    (
        "INTRODUCED",
        "S: 220 mx.example ESMTP\nC: EHLO gate.example\nS: 250-mx.example\nS: 250 XCLIENT NAME ADDR HELO\n\
         C: XCLIENT HELO=helo.sender.example NAME=mail.sender.example ADDR=IPV6:2001:db8::1\n\
         S: 220 mx.example ESMTP\nC: EHLO helo.sender.example\nS: 250-mx.example\nS: 250 8BITMIME",
    ),
    ("MAIL", "C: MAIL FROM:<a@sender.example>\nS: 250 2.1.0 Ok"),
    ("RCPT", "C: RCPT TO:<b@d.example>\nS: 250 2.1.5 Ok"),
    ("DATA", "C: DATA\nS: 354 go\nMESSAGE\nS: 250 2.0.0 queued"),
    ("PROBE", "C: MAIL FROM:<>\nS: 250 2.1.0 Ok\nRSET\nQUIT"),
    ("RSET", "C: RSET\nS: 250 2.0.0 Ok"),
    ("QUIT", "C: QUIT\nS: 221 2.0.0 Bye\nEOF"),
];

/// The server, listening on a port of its own.
pub(crate) struct Peer {
    address: Address,
    task: JoinHandle<Vec<Vec<u8>>>,
    claim: String,
    message_came: Arc<Notify>,
    /// Where the socket is, if it is a file.
    _folder: Option<TempDir>,
}

impl Peer {
    /// Plays one script for each connection, one after the other. The connection is closed where
    /// the script ends. The lines of a script:
    ///
    /// - `S: text` sends a line, `S! text` sends octets (with `\r`, `\n`, `\x..` escaped) and no
    ///   line end.
    /// - `C: text` expects a line, `C! text` octets.
    /// - `MESSAGE` expects a message up to the final dot, `PART` the beginning of a message.
    /// - `EOF` expects that the client closes.
    /// - `UNENDED` takes in a message that must not end.
    /// - `PASS n` lets n seconds pass, `PASS-ON` lets time pass until the client closes.
    /// - `FLOOD text` sends octets and goes on for long, `ENDLESS` sends without end, `EOF-ANY`
    ///   takes in anything, all three until the client closes.
    /// - `RESET` resets the connection.
    pub(crate) async fn play(claim: &str, way: Way, scripts: &[&str]) -> Self {
        let (listener, address, folder) = listen(way.socket).await;
        let scripts: Vec<String> = scripts.iter().map(|script| spelled_out(script, way)).collect();
        let about = claim.to_owned();
        let message_came = Arc::new(Notify::new());
        let came = Arc::clone(&message_came);
        let task = tokio::spawn(async move {
            let mut messages = Vec::new();
            for (at, script) in scripts.iter().enumerate() {
                let stream = accept(&listener).await.expect("a connection");
                let mut connection = Connection {
                    stream: BufReader::new(stream),
                    messages: Vec::new(),
                    message_came: Arc::clone(&came),
                };
                connection.play(&format!("{about}: connection {}", at + 1), script).await;
                messages.append(&mut connection.messages);
            }
            messages
        });
        Self { address, task, claim: claim.to_owned(), message_came, _folder: folder }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Resolves when a message has come, up to its final dot.
    pub(crate) fn message_came(&self) -> impl Future<Output = ()> + use<> {
        let came = Arc::clone(&self.message_came);
        async move { came.notified().await }
    }

    /// Ends what it plays, wherever that is.
    pub(crate) fn abandon(self) {
        self.task.abort();
    }

    /// Waits until all scripts were played; panics where one was not followed.
    pub(crate) async fn finish(self) -> Vec<Vec<u8>> {
        match timeout(patience(), self.task).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            Err(_) => panic!("{}: a connection or a command is missing", self.claim),
        }
    }
}

/// Time that passes only where a script requires it. Without it, paused time leaps whenever the
/// kernel takes a moment to carry octets over loopback.
pub(crate) struct Clock(#[expect(dead_code, reason = "dropping it ends the wait")] mpsc::Sender<()>);

impl Clock {
    /// Holds time back until it is dropped: tokio does not let it leap while blocking work is under
    /// way.
    pub(crate) fn held() -> Self {
        let (held, released) = mpsc::channel();
        tokio::task::spawn_blocking(move || released.recv());
        Self(held)
    }
}

async fn listen(socket: Socket) -> (Either<TcpListener, UnixListener>, Address, Option<TempDir>) {
    match socket {
        Socket::Tcp => {
            let listener = TcpListener::bind("[::1]:0").await.expect("a port on ::1");
            let address = listener.local_addr().expect("an address").into();
            (Either::Left(listener), address, None)
        }
        Socket::Unix => {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("socket");
            let listener = UnixListener::bind(&path).expect("a socket");
            (Either::Right(listener), unix(&path), Some(folder))
        }
    }
}

/// The socket at `path` as the address of a next hop.
pub(crate) fn unix(path: &Path) -> Address {
    Address::Unix(path.try_into().expect("a short path"))
}

async fn accept(listener: &Either<TcpListener, UnixListener>) -> io::Result<Stream> {
    Ok(match listener {
        Either::Left(listener) => {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            Either::Left(stream)
        }
        Either::Right(listener) => Either::Right(listener.accept().await?.0),
    })
}

/// A script with its placeholders replaced; HEADER and HELLO are what `way` begins with.
fn spelled_out(script: &str, way: Way) -> String {
    let (header, hello) = match way.client {
        ClientIdentity::Proxy => ("PROXY", "C: EHLO helo.sender.example"),
        ClientIdentity::None | ClientIdentity::Xclient => ("", "C: EHLO gate.example"),
    };
    let mut script = script.to_owned();
    // placeholders contain placeholders
    for _ in 0..WORDS_DEEP {
        let word = |line: &str| match WORDS.iter().find(|(word, _)| *word == line.trim()) {
            Some((_, lines)) => (*lines).to_owned(),
            None => match line.trim() {
                "HEADER" => header.to_owned(),
                "HELLO" => hello.to_owned(),
                _ => line.trim_start().to_owned(),
            },
        };
        script = script.lines().map(word).collect::<Vec<_>>().join("\n");
    }
    match way.protocol {
        Protocol::Smtp => script,
        Protocol::Lmtp => script.replace("C: EHLO ", "C: LHLO "),
    }
}

type Stream = Either<TcpStream, UnixStream>;

struct Connection {
    stream: BufReader<Stream>,
    messages: Vec<Vec<u8>>,
    message_came: Arc<Notify>,
}

impl Connection {
    async fn play(&mut self, claim: &str, script: &str) {
        for line in script.lines().filter(|line| !line.is_empty()) {
            let (verb, text) = line.split_once(' ').unwrap_or((line, ""));
            match verb {
                "S:" => self.write(claim, format!("{text}\r\n").as_bytes()).await,
                "S!" => self.write(claim, &unescaped(text)).await,
                "C!" => {
                    let wanted = unescaped(text);
                    let mut heard = vec![0; wanted.len()];
                    self.stream.read_exact(&mut heard).await.expect(claim);
                    assert_eq!(
                        heard.escape_ascii().to_string(),
                        wanted.escape_ascii().to_string(),
                        "{claim}"
                    );
                }
                "C:" => assert_eq!(self.line(claim).await, format!("{text}\r\n"), "{claim}"),
                "MESSAGE" => self.message(claim).await,
                "PART" => drop(self.stream.fill_buf().await.expect(claim)),
                "UNENDED" => self.unended(claim).await,
                "PASS" => pass(text.parse().expect(claim)).await,
                "PASS-ON" => self.pass_on(claim).await,
                "FLOOD" => {
                    let octets = [unescaped(text), vec![b'x'; FLOOD]].concat();
                    // a client that has received enough hangs up
                    let _ = self.stream.write_all(&octets).await;
                }
                "ENDLESS" => while self.stream.write_all(&[b'2'; 4096]).await.is_ok() {},
                "RESET" => return self.reset(claim),
                "EOF-ANY" => while self.stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {},
                "EOF" => {
                    let mut rest = Vec::new();
                    // A client that gives up on unread replies resets the connection: that is an
                    // end too.
                    let _ = self.stream.read_to_end(&mut rest).await;
                    assert_eq!(rest.escape_ascii().to_string(), "", "{claim}");
                }
                _ => panic!("{claim}: no such line: {line}"),
            }
        }
    }

    /// Nothing but TCP has a reset: a Unix socket is closed.
    fn reset(&self, claim: &str) {
        if let Either::Left(stream) = self.stream.get_ref() {
            stream.set_zero_linger().expect(claim);
        }
    }

    async fn write(&mut self, claim: &str, octets: &[u8]) {
        self.stream.write_all(octets).await.expect(claim);
    }

    async fn line(&mut self, claim: &str) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.expect(claim);
        line
    }

    async fn pass_on(&self, claim: &str) {
        for _ in 0..EVER {
            pass(1).await;
            let read = match self.stream.get_ref() {
                Either::Left(stream) => stream.try_read(&mut [0; 4096]),
                Either::Right(stream) => stream.try_read(&mut [0; 4096]),
            };
            match read {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        panic!("{claim}: the client waits for ever");
    }

    async fn unended(&mut self, claim: &str) {
        let mut wire = Vec::new();
        let _ = self.stream.read_to_end(&mut wire).await;
        assert!(!wire.windows(5).any(|five| five == b"\r\n.\r\n"), "{claim}: the message ends");
    }

    async fn message(&mut self, claim: &str) {
        let mut wire = Vec::new();
        loop {
            let start = wire.len();
            let read = self.stream.read_until(b'\n', &mut wire).await.expect(claim);
            assert_ne!(read, 0, "{claim}: the message does not end");
            if &wire[start..] == b".\r\n" && (start == 0 || wire[..start].ends_with(b"\r\n")) {
                wire.truncate(start);
                self.message_came.notify_one();
                return self.messages.push(wire);
            }
        }
    }
}

async fn pass(seconds: u32) {
    for _ in 0..seconds {
        advance(Duration::from_secs(1)).await;
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        octets.extend_from_slice(plain.as_bytes());
        let (octet, length) = match escape.as_bytes() {
            [b'r', ..] => (b'\r', 1),
            [b'n', ..] => (b'\n', 1),
            [b'x', ..] => (u8::from_str_radix(&escape[1..3], 16).expect(text), 3),
            _ => panic!("no such escape: {text}"),
        };
        octets.push(octet);
        rest = &escape[length..];
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}
