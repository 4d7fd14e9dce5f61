//! SMTP clients: a scripted one that sends exactly its script, and swaks.
//!
//! It knows no right answer: what comes back is kept, suites judge it.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddrV6, TcpStream},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{
    netns::{self, Netns},
    timeouts::patience,
    transcript::{Side, Transcript},
};

/// An SMTP client on one connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<Connection>,
    transcript: Transcript,
}

/// A connection in the clear, or through TLS.
#[derive(Debug)]
enum Connection {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(octets),
            Self::Tls(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A complete reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Its three-digit code.
    pub code: u16,
    /// Its lines as they came, code included, without CRLF.
    pub lines: Vec<String>,
}

impl Reply {
    /// The last line, code included.
    #[must_use]
    pub fn last(&self) -> &str {
        self.lines.last().map_or("", String::as_str)
    }

    /// The last line without the name of the session, where it ends with that.
    #[must_use]
    pub fn unnamed(&self) -> &str {
        let last = self.last();
        last.rsplit_once(' ').filter(|(_, word)| is_session(word)).map_or(last, |(text, _)| text)
    }

    /// The name of the session, where the last line ends with that.
    #[must_use]
    pub fn session(&self) -> Option<&str> {
        self.last().rsplit_once(' ').map(|(_, word)| word).filter(|word| is_session(word))
    }
}

/// Whether `word` has the form of a session's name: two hexadecimal numbers.
fn is_session(word: &str) -> bool {
    let is_number =
        |part: &str| !part.is_empty() && part.bytes().all(|octet| matches!(octet, b'0'..=b'9' | b'a'..=b'f'));
    word.split_once('-').is_some_and(|(time, count)| is_number(time) && is_number(count))
}

impl Client {
    /// Connects from inside `netns`, or from where we are; port 0 in `source` is any.
    ///
    /// # Errors
    /// The error of connect(2).
    pub fn connect(
        netns: Option<&Netns>,
        source: SocketAddrV6,
        destination: SocketAddrV6,
    ) -> io::Result<Self> {
        let stream = match netns {
            Some(netns) => netns.connect(source, destination)?,
            None => netns::connect(source, destination)?,
        };
        stream.set_read_timeout(Some(patience()))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(Connection::Plain(stream)), transcript: Transcript::default() })
    }

    /// Begins TLS now, with a server called `name`; STARTTLS was accepted before.
    ///
    /// # Errors
    /// If something is unread, or the handshake fails.
    pub fn encrypt(&mut self, config: &Arc<ClientConfig>, name: &str) -> Result<()> {
        ensure!(self.stream.buffer().is_empty(), "the server said something in the clear");
        let mut socket = self.stream.get_ref().socket().try_clone()?;
        let mut connection =
            ClientConnection::new(Arc::clone(config), ServerName::try_from(name.to_owned())?)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).context("the handshake failed")?;
        }
        let encrypted = Connection::Tls(Box::new(StreamOwned::new(connection, socket)));
        self.stream = BufReader::new(encrypted);
        Ok(())
    }

    /// Makes replies due within `time` from now on, instead of [`patience`].
    ///
    /// # Errors
    /// If the system refuses.
    pub fn wait_at_most(&self, time: Duration) -> Result<()> {
        self.stream.get_ref().socket().set_read_timeout(Some(time)).context("cannot set a time-out")
    }

    /// Reads one reply.
    ///
    /// # Errors
    /// If the connection ends, nothing comes for [`patience`], or the data is not a reply.
    pub fn reply(&mut self) -> Result<Reply> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?.context("the connection ended where a reply was due")?;
            let more = line.as_bytes().get(3) == Some(&b'-');
            lines.push(line);
            if !more {
                break;
            }
        }
        let last = lines.last().map_or("", String::as_str);
        let code = last.get(..3).and_then(|code| code.parse().ok());
        let code = code.with_context(|| format!("no reply: {last:?}"))?;
        Ok(Reply { code, lines })
    }

    /// Sends `line` and reads the reply.
    ///
    /// # Errors
    /// As [`Client::reply`].
    pub fn say(&mut self, line: &str) -> Result<Reply> {
        self.send(line)?;
        self.reply()
    }

    /// Sends `line` and CRLF, without waiting for an answer.
    ///
    /// # Errors
    /// If the connection ended.
    pub fn send(&mut self, line: &str) -> Result<()> {
        self.transcript.push(Side::Client, line);
        self.write(format!("{line}\r\n").as_bytes())
    }

    /// Sends `octets` as they are; they are not in the transcript.
    ///
    /// # Errors
    /// If the connection ended.
    pub fn write(&mut self, octets: &[u8]) -> Result<()> {
        let stream = self.stream.get_mut();
        stream
            .write_all(octets)
            .and_then(|()| stream.flush())
            .with_context(|| format!("cannot send; so far:\n{}", self.transcript))
    }

    /// Sends a message and the final dot, dots at the start of lines doubled (RFC 5321 4.5.2), and
    /// reads the reply. `message` has LF or CRLF at its lines' ends.
    ///
    /// # Errors
    /// As [`Client::reply`].
    pub fn message(&mut self, message: &str) -> Result<Reply> {
        for line in message.lines() {
            let dot = if line.starts_with('.') { "." } else { "" };
            self.send(&format!("{dot}{line}"))?;
        }
        self.say(".")
    }

    /// Waits for the server to end the connection.
    ///
    /// # Errors
    /// If it sends something instead, or nothing for [`patience`].
    pub fn closed(&mut self) -> Result<()> {
        match self.line() {
            Ok(None) => Ok(()),
            Ok(Some(line)) => bail!("the connection was to end, the server said {line:?}"),
            Err(error) => match error.downcast_ref::<io::Error>() {
                Some(io) if matches!(io.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) => {
                    Ok(())
                }
                _ => Err(error),
            },
        }
    }

    /// Reads one line, without its CRLF; none when the connection has ended.
    ///
    /// # Errors
    /// If nothing comes for [`patience`], or the data is not a line.
    pub fn line(&mut self) -> Result<Option<String>> {
        let mut line = Vec::new();
        let mut bounded = self.stream.by_ref().take(REPLY_LINE_MAX);
        bounded
            .read_until(b'\n', &mut line)
            .with_context(|| format!("no reply; so far:\n{}", self.transcript))?;
        if line.is_empty() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        let Some(text) = text.strip_suffix("\r\n") else {
            bail!("a line without CRLF: {text:?}");
        };
        self.transcript.push(Side::Server, text);
        Ok(Some(text.to_owned()))
    }

    /// Ends our side of the connection; the server's stays open.
    ///
    /// # Errors
    /// If the connection has ended already.
    pub fn hang_up(&mut self) -> Result<()> {
        if let Connection::Tls(stream) = self.stream.get_mut() {
            stream.conn.send_close_notify();
            // fails only if the server was faster
            let _ = stream.flush();
        }
        match self.stream.get_ref().socket().shutdown(Shutdown::Write) {
            // the server was faster
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            done => done.context("cannot end the connection"),
        }
    }

    /// The transcript so far.
    #[must_use]
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }
}

/// What swaks did.
#[derive(Clone, Debug)]
pub struct Swaks {
    /// Its exit code: 0 delivered, 23 MAIL refused, 24 every RCPT refused, 26 message refused; see
    /// swaks(1).
    pub code: i32,
    /// What it printed: the dialogue.
    pub output: String,
}

/// Sends a message with swaks from inside `netns`; `arguments` as in swaks(1), beside `--server`
/// and `--port`.
///
/// # Errors
/// If swaks is not there.
pub fn swaks(netns: &Netns, destination: SocketAddrV6, arguments: &[&str]) -> Result<Swaks> {
    let mut command = Command::new("swaks");
    command
        .args(["-6", "--server", &destination.ip().to_string()])
        .args(["--port", &destination.port().to_string()])
        .args(["--timeout", &format!("{}s", patience().as_secs())])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = netns.spawn(&mut command)?.wait_with_output()?;
    let code = output.status.code();
    ensure!(code.is_some(), "swaks was killed: {}", output.status);
    let text = [output.stdout, output.stderr].concat();
    Ok(Swaks { code: code.unwrap_or(-1), output: String::from_utf8_lossy(&text).into_owned() })
}

/// Longest line that is read, in octets.
const REPLY_LINE_MAX: u64 = 4096;
