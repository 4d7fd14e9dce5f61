//! A mail server that plays a script over a real socket: what it says and what it expects to hear.
//!
//! It knows no SMTP but the end of a message.

use std::{future::pending, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

/// Longer than anything that sixgate waits for.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// Lines that several scripts share.
const WORDS: &[(&str, &str)] = &[
    (
        "OPEN",
        "S: 220 mx.example ESMTP\nC: EHLO gate.example\nS: 250-mx.example\nS: 250-SIZE 100000\nS: 250 8BITMIME",
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
    ("RSET", "C: RSET\nS: 250 2.0.0 Ok"),
    ("QUIT", "C: QUIT\nS: 221 2.0.0 Bye\nEOF"),
];

/// The server, listening on a port of its own.
pub(crate) struct Peer {
    address: SocketAddr,
    task: JoinHandle<Vec<Vec<u8>>>,
    claim: String,
}

impl Peer {
    /// Plays one script for each connection, one after the other. The lines of a script:
    /// `S: text` says a line, `S! text` says octets (with `\r`, `\n`, `\x..` escaped) and no line end;
    /// `C: text` expects a line; `MESSAGE` expects a message up to the final dot; `EOF` expects that the client closes;
    /// `PART` expects the beginning of a message; `UNENDED` takes in a message that must not end; `LATER n` lets n seconds pass; `ENDLESS` talks until the client
    /// closes; `EOF-ANY` takes in anything until the client closes; `RESET` resets the connection. The connection is closed where the script ends.
    pub(crate) async fn play(claim: &str, scripts: &[&str]) -> Self {
        let listener = TcpListener::bind("[::1]:0").await.expect("a port on ::1");
        let address = listener.local_addr().expect("an address");
        let scripts: Vec<String> = scripts.iter().map(|script| spelled_out(script)).collect();
        let about = claim.to_owned();
        let task = tokio::spawn(async move {
            let mut messages = Vec::new();
            for (at, script) in scripts.iter().enumerate() {
                let (stream, _) = listener.accept().await.expect("a connection");
                // Real time must not pass while the paused one stands still.
                stream.set_nodelay(true).expect("a TCP socket");
                let mut connection = Connection { stream: BufReader::new(stream), messages: Vec::new() };
                connection.play(&format!("{about}: connection {}", at + 1), script).await;
                messages.append(&mut connection.messages);
            }
            messages
        });
        Self { address, task, claim: claim.to_owned() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until all scripts were played; panics where one was not followed.
    pub(crate) async fn finish(self) -> Vec<Vec<u8>> {
        match timeout(PATIENCE, self.task).await {
            Ok(Ok(messages)) => messages,
            Ok(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            Err(_) => panic!("{}: a connection or a command is missing", self.claim),
        }
    }
}

/// Lets everything happen that happens without time passing. Time is paused.
pub(crate) async fn settle() {
    later(Duration::from_millis(1)).await;
}

async fn later(duration: Duration) {
    timeout(duration, pending::<()>()).await.expect_err("nothing ends it");
}

fn spelled_out(script: &str) -> String {
    let word = |line: &str| {
        let found = WORDS.iter().find(|(word, _)| *word == line.trim());
        found.map_or_else(|| line.trim_start().to_owned(), |(_, lines)| (*lines).to_owned())
    };
    script.lines().map(word).collect::<Vec<_>>().join("\n")
}

struct Connection {
    stream: BufReader<TcpStream>,
    messages: Vec<Vec<u8>>,
}

impl Connection {
    async fn play(&mut self, claim: &str, script: &str) {
        for line in script.lines().filter(|line| !line.is_empty()) {
            let (verb, text) = line.split_once(' ').unwrap_or((line, ""));
            match verb {
                "S:" => self.write(claim, format!("{text}\r\n").as_bytes()).await,
                "S!" => self.write(claim, &unescaped(text)).await,
                "C:" => assert_eq!(self.line(claim).await, format!("{text}\r\n"), "{claim}"),
                "MESSAGE" => self.message(claim).await,
                "PART" => drop(self.stream.fill_buf().await.expect(claim)),
                "UNENDED" => self.unended(claim).await,
                "LATER" => later(Duration::from_secs(text.parse().expect(claim))).await,
                "ENDLESS" => while self.stream.write_all(&[b'2'; 4096]).await.is_ok() {},
                "RESET" => return self.stream.get_ref().set_zero_linger().expect(claim),
                "EOF-ANY" => while self.stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {},
                "EOF" => {
                    let mut rest = Vec::new();
                    // A client that gives up on unread replies resets the connection: that is an end too.
                    let _ = self.stream.read_to_end(&mut rest).await;
                    assert_eq!(rest.escape_ascii().to_string(), "", "{claim}");
                }
                _ => panic!("{claim}: no such line: {line}"),
            }
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
                return self.messages.push(wire);
            }
        }
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
