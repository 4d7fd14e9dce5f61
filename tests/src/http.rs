//! A small HTTP client that looks closely: one request on one connection, and all that came back.
//!
//! It follows no redirect, and takes no chunked answer: the daemon sends none.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

use crate::{netns::Netns, timeouts::patience};

/// The address of the daemon's listener in tests.
pub const ADDRESS: &str = "[::1]:9625";

/// An answer to one request.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// All that follows the head.
    pub body: String,
}

impl HttpAnswer {
    /// The value of the only field `name`.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut found = self.fields.iter().filter(|(other, _)| other == name);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }
}

/// Asks the listener at [`ADDRESS`] in `netns` for `path`.
///
/// # Errors
/// If there is no listener, or no proper answer.
pub fn get(netns: &Netns, path: &str) -> Result<HttpAnswer> {
    send(netns, &format!("GET {path} HTTP/1.1\r\nHost: {ADDRESS}\r\n\r\n"))
}

/// Sends the octets of a request to [`ADDRESS`] in `netns`.
///
/// # Errors
/// As [`get`].
pub fn send(netns: &Netns, request: &str) -> Result<HttpAnswer> {
    let stream = connect(netns)?;
    converse(stream, request)
}

/// Asks another server, at `address` in `netns`, for `path`.
///
/// # Errors
/// As [`get`].
pub fn get_from(netns: &Netns, address: SocketAddr, path: &str) -> Result<HttpAnswer> {
    let stream = netns.run(|| TcpStream::connect(address)).context("cannot connect")?;
    stream.set_read_timeout(Some(patience()))?;
    // of HTTP/1.0, so that the answer is in one piece
    converse(stream, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"))
}

/// Connects to [`ADDRESS`] in `netns`.
///
/// # Errors
/// If there is no listener.
pub fn connect(netns: &Netns) -> Result<TcpStream> {
    let stream = netns.run(|| TcpStream::connect(ADDRESS)).context("cannot connect")?;
    stream.set_read_timeout(Some(patience()))?;
    Ok(stream)
}

/// Sends the octets of a request to the Unix socket `path`.
///
/// # Errors
/// As [`get`].
pub fn send_to_socket(path: &Path, request: &str) -> Result<HttpAnswer> {
    let stream = UnixStream::connect(path).context("cannot connect")?;
    stream.set_read_timeout(Some(patience()))?;
    converse(stream, request)
}

fn converse(mut stream: impl Read + Write, request: &str) -> Result<HttpAnswer> {
    stream.write_all(request.as_bytes()).context("cannot send the request")?;
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).context("cannot read the answer")?;
    let text = String::from_utf8(octets).context("the answer is not UTF-8")?;
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no end of the head: {text}"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap_or_default();
    let status = status.strip_prefix("HTTP/1.1 ").or_else(|| status.strip_prefix("HTTP/1.0 "));
    let status = status.and_then(|rest| rest.get(..3)?.parse().ok()).context("no status line")?;
    let field = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    };
    let fields = lines.map(field).collect::<Option<Vec<_>>>().context("a field without a value")?;
    let answer = HttpAnswer { status, fields, body: body.to_owned() };
    let length = answer.field("content-length").map(str::parse).transpose()?;
    let is_head = request.starts_with("HEAD ");
    let wanted = if is_head { 0 } else { length.unwrap_or(answer.body.len()) };
    ensure!(answer.body.len() == wanted, "the length is wrong: {text}");
    Ok(answer)
}
