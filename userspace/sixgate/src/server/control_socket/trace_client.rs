//! The command's side of a trace: one request, and answers until the last. It blocks.
//!
//! The content of the answers is defined in `trace`.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    AskError, LINE_TIMEOUT, RESPONSE_MAX, Request, TraceRequest, TraceResponse,
    client::{connect, unanswered},
};

/// The daemon's answers to a request for a trace.
#[derive(Debug)]
pub struct TraceAnswers {
    path: PathBuf,
    input: BufReader<UnixStream>,
}

/// Asks the daemon whose control socket is `path` for a trace. It ends when the answers are
/// dropped.
///
/// # Errors
/// [`AskError`].
pub fn trace(path: &Path, request: TraceRequest) -> Result<TraceAnswers, AskError> {
    let stream = connect(path)?;
    match send(&stream, request) {
        Ok(()) => Ok(TraceAnswers { path: path.to_owned(), input: BufReader::new(stream) }),
        Err(source) => Err(unanswered(path, TRACE_TIMEOUT, &stream, source)),
    }
}

impl TraceAnswers {
    /// Waits for the next one.
    ///
    /// # Errors
    /// [`AskError`]; also when the daemon is gone before the last one.
    pub fn wait(&mut self) -> Result<TraceResponse, AskError> {
        let mut line = Vec::new();
        let read = (&mut self.input).take(RESPONSE_MAX).read_until(b'\n', &mut line);
        let read = read.and_then(|_| match line.last() {
            Some(b'\n') => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        });
        read.map_err(|source| unanswered(&self.path, TRACE_TIMEOUT, self.input.get_ref(), source))?;
        let path = self.path.clone();
        serde_json::from_slice(&line).map_err(|source| AskError::OtherVersion { path, source })
    }
}

fn send(mut stream: &UnixStream, request: TraceRequest) -> io::Result<()> {
    stream.set_write_timeout(Some(LINE_TIMEOUT))?;
    stream.set_read_timeout(Some(TRACE_TIMEOUT))?;
    let mut line = serde_json::to_vec(&Request::Trace(request))?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// How long `sixgate trace` waits for the next octet: a running daemon sends one each second, but
/// may be busy while it puts programs in place.
const TRACE_TIMEOUT: Duration = Duration::from_secs(30);
