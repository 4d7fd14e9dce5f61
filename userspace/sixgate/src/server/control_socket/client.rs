//! The commands' side of the control socket. It blocks, at most for as long as an answer may take.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::{
    IDENTITY_TIMEOUT, LINE_TIMEOUT, RESPONSE_MAX, RESPONSE_TIMEOUT, Request, Response, SILENCE_TIMEOUT,
};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nothing listens there.
    #[error("no daemon answers at {}", path.display())]
    NoDaemon {
        /// The path of the socket.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// This user may not ask.
    #[error("cannot use the daemon's control socket {}: run the command as root, or as a member of the socket's group", path.display())]
    NoRights {
        /// The path of the socket.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It did not answer, or not in full.
    #[error("the daemon did not answer at {}", path.display())]
    NoAnswer {
        /// The path of the socket.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It did not answer in time.
    #[error(
        "the daemon{} did not answer within {} s at {}: it is suspended or overloaded, and may still do what it was asked; \
         `systemctl restart sixgate` if it stays so",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), waited.as_secs(), path.display()
    )]
    Silent {
        /// The path of the socket.
        path: PathBuf,
        /// For so long.
        waited: Duration,
        /// Its process, if that is known.
        pid: Option<u32>,
    },
    /// Its answer is of a kind that this version does not know.
    #[error("the daemon at {} is of another version: restart it", path.display())]
    OtherVersion {
        /// The path of the socket.
        path: PathBuf,
        /// The fault of the answer.
        source: serde_json::Error,
    },
}

/// Asks the daemon whose control socket is `path`.
///
/// # Errors
/// [`AskError`].
pub fn ask(path: &Path, request: Request) -> Result<Response, AskError> {
    ask_patiently(path, request, &mut || {})
}

/// The same; `waiting` is called once if the daemon shows that it lives and needs more than a
/// second.
///
/// # Errors
/// [`AskError`].
pub fn ask_patiently(path: &Path, request: Request, waiting: &mut dyn FnMut()) -> Result<Response, AskError> {
    let stream = connect(path)?;
    let patience = match request {
        Request::Status | Request::Overview | Request::Reload | Request::TryReload => SILENCE_TIMEOUT,
        Request::Identity => IDENTITY_TIMEOUT,
        // they have answers of another kind: `lines_client`
        Request::Trace(_) | Request::Facts(_) => LINE_TIMEOUT,
    };
    let begun = Instant::now();
    let line = exchange(&stream, request, patience, waiting)
        .map_err(|source| unanswered(path, begun.elapsed(), &stream, source))?;
    serde_json::from_slice(&line).map_err(|source| AskError::OtherVersion { path: path.to_owned(), source })
}

/// Connects to the daemon whose control socket is `path`.
pub(super) fn connect(path: &Path) -> Result<UnixStream, AskError> {
    UnixStream::connect(path).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => AskError::NoRights { path, source },
            _ => AskError::NoDaemon { path, source },
        }
    })
}

/// Why there is no answer from `stream`, which was waited for so long.
pub(super) fn unanswered(path: &Path, waited: Duration, stream: &UnixStream, source: io::Error) -> AskError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            AskError::Silent { path, waited, pid: peer(stream) }
        }
        _ => AskError::NoAnswer { path, source },
    }
}

/// The process that listens at `path`, if one does; it need not answer.
pub(crate) fn listening_pid(path: &Path) -> Option<u32> {
    peer(&UnixStream::connect(path).ok()?)
}

/// The process that listens at the other end.
fn peer(stream: &UnixStream) -> Option<u32> {
    let peer = getsockopt(stream, PeerCredentials).ok()?;
    u32::try_from(peer.pid()).ok().filter(|pid| *pid > 0)
}

fn exchange(
    mut stream: &UnixStream,
    request: Request,
    patience: Duration,
    waiting: &mut dyn FnMut(),
) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(LINE_TIMEOUT))?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(&request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let (mut answer, begun) = (Vec::new(), Instant::now());
    let mut input = BufReader::new(stream.take(RESPONSE_MAX));
    while answer.last() != Some(&b'\n') {
        let octets = input.fill_buf()?;
        let part = octets.split_inclusive(|octet| *octet == b'\n').next().unwrap_or_default();
        if part.is_empty() {
            break;
        }
        if answer.is_empty() && part.first() == Some(&b' ') {
            waiting();
        }
        answer.extend_from_slice(part);
        let length = part.len();
        input.consume(length);
        // its signs of life do not go on for ever
        if begun.elapsed() > RESPONSE_TIMEOUT {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    match answer.pop() {
        Some(b'\n') => Ok(answer),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    #[test]
    fn a_daemon_that_falls_silent_is_reported_with_the_whole_time() {
        const BUSY: Duration = Duration::from_secs(1);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            thread::sleep(BUSY);
            stream.write_all(b" ").unwrap();
            // until the command gives up
            let _ = stream.read_to_end(&mut Vec::new());
        });
        match ask(&path, Request::Status).unwrap_err() {
            AskError::Silent { waited, .. } => assert!(waited >= BUSY + SILENCE_TIMEOUT, "{waited:?}"),
            other => panic!("{other}"),
        }
        daemon.join().unwrap();
    }
}
