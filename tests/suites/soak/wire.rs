//! A connection on which any octets can be sent, and replies can be read one at a time.
//!
//! It keeps no transcript: a soak sends gigabytes.

use std::{
    io::{self, BufRead as _, BufReader, ErrorKind, Read, Write},
    net::{Ipv6Addr, Shutdown, SocketAddrV6, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use rustls::{ClientConfig, ClientConnection, StreamOwned, pki_types::ServerName};
use sixgate_tests::{netns, timeouts::patience};

/// A connection to the gate.
pub(crate) struct Wire(BufReader<Stream>);

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(octets),
            Self::Tls(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Wire {
    /// Connects, and reads the greeting.
    pub(crate) fn open(source: Ipv6Addr, destination: Ipv6Addr) -> Result<Self> {
        let (source, destination) =
            (SocketAddrV6::new(source, 0, 0, 0), SocketAddrV6::new(destination, 25, 0, 0));
        let stream = netns::connect(source, destination).context("cannot connect")?;
        stream.set_read_timeout(Some(patience()))?;
        stream.set_write_timeout(Some(patience()))?;
        stream.set_nodelay(true)?;
        let mut wire = Self(BufReader::new(Stream::Plain(stream)));
        wire.expect("220")?;
        Ok(wire)
    }

    pub(crate) fn write(&mut self, octets: &[u8]) -> Result<()> {
        let stream = self.0.get_mut();
        stream.write_all(octets).and_then(|()| stream.flush()).context("cannot write")
    }

    /// Asks for TLS and begins it, with a server called `name`. If the server has no TLS for the
    /// moment, because this network began many handshakes, the session goes on in the clear.
    pub(crate) fn encrypt(self, config: &Arc<ClientConfig>, name: &str) -> Result<Self> {
        let mut wire = self;
        wire.write(b"STARTTLS\r\n")?;
        let reply = wire.reply()?;
        if reply.starts_with("454 4.7.0 ") {
            return Ok(wire);
        }
        ensure!(reply.starts_with("220 "), "after \"STARTTLS\": {reply:?}");
        let Stream::Plain(socket) = wire.0.into_inner() else {
            bail!("it is encrypted already");
        };
        let connection = ClientConnection::new(Arc::clone(config), ServerName::try_from(name.to_owned())?)?;
        Ok(Self(BufReader::new(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))))
    }

    /// Whether TLS has begun.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.0.get_ref(), Stream::Tls(_))
    }

    /// The last line of the next reply.
    pub(crate) fn reply(&mut self) -> Result<String> {
        loop {
            let mut line = String::new();
            self.0.by_ref().take(LINE_MAX).read_line(&mut line).context("no reply")?;
            ensure!(!line.is_empty(), "the connection ended where a reply was due");
            let Some(text) = line.strip_suffix("\r\n") else {
                bail!("a reply without CRLF: {line:?}");
            };
            if text.as_bytes().get(3) != Some(&b'-') {
                return Ok(text.to_owned());
            }
        }
    }

    /// Reads a reply that has to begin with `wanted`.
    pub(crate) fn expect(&mut self, wanted: &str) -> Result<()> {
        let reply = self.reply()?;
        ensure!(reply.starts_with(wanted), "{reply:?} where {wanted:?} was due");
        Ok(())
    }

    /// Sends a line, and reads a reply that has to begin with `wanted`.
    pub(crate) fn say(&mut self, line: &str, wanted: &str) -> Result<()> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.expect(wanted).with_context(|| format!("after {line:?}"))
    }

    /// Ends our side; the other stays open.
    pub(crate) fn half_close(&mut self) -> Result<()> {
        self.0.get_ref().socket().shutdown(Shutdown::Write).context("cannot end our side")
    }

    /// Ends the connection with a reset.
    pub(crate) fn reset(self) -> Result<()> {
        let socket = socket2::SockRef::from(self.0.get_ref().socket());
        socket.set_linger(Some(Duration::ZERO)).context("cannot set SO_LINGER")
    }

    /// Listens for `time`; whether the other side is still there.
    pub(crate) fn listen(&mut self, time: Duration) -> Result<bool> {
        self.0.get_ref().socket().set_read_timeout(Some(time))?;
        let heard = self.0.read(&mut [0; 4096]);
        self.0.get_ref().socket().set_read_timeout(Some(patience()))?;
        match heard {
            Ok(0) => Ok(false),
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(true),
            Err(_) => Ok(false),
        }
    }

    /// Everything until the other side ends the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut octets = Vec::new();
        // a reset is an end, too
        let _ = self.0.by_ref().take(REST_MAX).read_to_end(&mut octets);
        String::from_utf8_lossy(&octets).into_owned()
    }
}

const LINE_MAX: u64 = 2048;
const REST_MAX: u64 = 1 << 20;
