//! The commands' side of a request that has many answers, such as a trace: one request, and answers
//! until the last. It blocks.
//!
//! The content of the answers is defined in `trace` and in `control`.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    marker::PhantomData,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;

use super::{
    AskError, LINE_TIMEOUT, RESPONSE_MAX, Request, SILENCE_TIMEOUT, TraceRequest, TraceResponse,
    client::{connect, unanswered},
};
use crate::control::{Facts, FactsRequest};

/// The daemon's answers, each a `T`.
#[derive(Debug)]
pub struct Answers<T> {
    path: PathBuf,
    input: BufReader<UnixStream>,
    patience: Duration,
    kind: PhantomData<T>,
}

/// Asks the daemon whose control socket is `path` for a trace. It ends when the answers are
/// dropped.
///
/// # Errors
/// [`AskError`].
pub fn trace(path: &Path, request: TraceRequest) -> Result<Answers<TraceResponse>, AskError> {
    Answers::to(path, Request::Trace(request), TRACE_TIMEOUT)
}

/// Asks the daemon whose control socket is `path` for facts of the XDP program and its maps.
///
/// # Errors
/// [`AskError`].
pub fn facts(path: &Path, request: FactsRequest) -> Result<Answers<Facts>, AskError> {
    Answers::to(path, Request::Facts(request), SILENCE_TIMEOUT)
}

impl<T: DeserializeOwned> Answers<T> {
    fn to(path: &Path, request: Request, patience: Duration) -> Result<Self, AskError> {
        let stream = connect(path)?;
        match send(&stream, request, patience) {
            Ok(()) => {
                let input = BufReader::new(stream);
                Ok(Self { path: path.to_owned(), input, patience, kind: PhantomData })
            }
            Err(source) => Err(unanswered(path, patience, &stream, source)),
        }
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// [`AskError`]; also when the daemon is gone before the last one.
    pub fn wait(&mut self) -> Result<T, AskError> {
        let mut line = Vec::new();
        let read = (&mut self.input).take(RESPONSE_MAX).read_until(b'\n', &mut line);
        let read = read.and_then(|_| match line.last() {
            Some(b'\n') => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        });
        read.map_err(|source| unanswered(&self.path, self.patience, self.input.get_ref(), source))?;
        let path = self.path.clone();
        serde_json::from_slice(&line).map_err(|source| AskError::OtherVersion { path, source })
    }
}

fn send(mut stream: &UnixStream, request: Request, patience: Duration) -> io::Result<()> {
    stream.set_write_timeout(Some(LINE_TIMEOUT))?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// How long `sixgate trace` waits for the next octet: a running daemon sends one each second, but
/// may be busy while it puts programs in place.
const TRACE_TIMEOUT: Duration = Duration::from_secs(30);
