//! The daemon's side of the control socket: made for the user and the group of the process, and for
//! root. Members of the group may ask and change nothing.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, MetadataExt, PermissionsExt},
            net::UnixStream as StdUnixStream,
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::{
    sys::stat::{Mode, fchmod},
    unistd::geteuid,
};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{ALIVE, DaemonStatus, LINE_TIMEOUT, REQUEST_MAX, Request, Response};
use crate::server::{
    administration::Administration, facts_reader::FactsReader, overview::Overview, traces::Traces,
};

/// What answers requests.
#[derive(Clone)]
pub(crate) struct Handlers {
    pub(crate) administration: Arc<Administration>,
    pub(crate) traces: Arc<Traces>,
    pub(crate) overview: Arc<Overview>,
    pub(crate) facts: Arc<FactsReader>,
}

/// The control socket, for as long as the daemon runs. Mail does not depend on it.
pub(crate) struct ControlSocket {
    path: PathBuf,
    /// None: it could not be made, which was logged.
    listener: Option<ControlListener>,
}

/// The socket and its file.
struct ControlListener {
    path: PathBuf,
    listener: UnixListener,
    /// Device and inode, to know the file again.
    file: (u64, u64),
}

/// What may keep the socket from being made.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error("another daemon answers there")]
    Living,
    #[error(
        "a file that is not a socket is there already: it stays as it is; name another path in control_socket"
    )]
    OtherFile,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What became of waiting for a connection.
enum Waited {
    Connected(UnixStream),
    Failed,
    /// The file of the socket is gone, or another.
    Gone,
}

impl ControlSocket {
    /// Makes the socket; commands wait at it until [`Self::serve`].
    pub(crate) fn open(path: PathBuf) -> Self {
        let mut socket = Self { path, listener: None };
        if let Err(error) = socket.try_open() {
            warn!(
                "cannot make the control socket {}, `sixgate status` and `sixgate reload` do not reach this daemon, \
                 retrying: {:#}",
                socket.path.display(),
                anyhow::Error::new(error)
            );
        }
        socket
    }

    fn try_open(&mut self) -> Result<(), ListenError> {
        self.listener = Some(ControlListener::open(&self.path)?);
        Ok(())
    }

    /// Answers commands for ever. While there is no socket, it is tried again; one that was removed
    /// is made again.
    pub(crate) async fn serve(mut self, handlers: Handlers) {
        loop {
            if let Some(listener) = self.listener.take() {
                listener.answer(&handlers).await;
                warn!("the control socket {} was removed: it is made again", self.path.display());
            } else {
                sleep(RETRY).await;
            }
            if self.try_open().is_ok() {
                info!("the control socket {} is in use", self.path.display());
            }
        }
    }
}

impl ControlListener {
    fn open(path: &Path) -> Result<Self, ListenError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        check_path(path)?;
        match StdUnixStream::connect(path) {
            Ok(_) => return Err(ListenError::Living),
            // what a daemon left that was killed
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(_) => {}
        }
        let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        // before the file is there: no other user connects (net/unix/af_unix.c, `unix_bind`)
        fchmod(&socket, Mode::from_bits_truncate(MODE)).map_err(io::Error::from)?;
        socket.bind(&SockAddr::unix(path)?)?;
        socket.listen(BACKLOG)?;
        let listener = UnixListener::from_std(OwnedFd::from(socket).into())?;
        // regardless of the umask
        fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        let file = identity(path)?;
        Ok(Self { path: path.to_owned(), listener, file })
    }

    /// Answers until the socket's file is not there any more.
    async fn answer(self, handlers: &Handlers) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // the others wait in the kernel's queue
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            match self.wait().await {
                Waited::Connected(stream) => {
                    let handlers = handlers.clone();
                    tokio::spawn(async move {
                        // a command that left has no use for its answer
                        let _ = converse(stream, &handlers).await;
                        drop(permit);
                    });
                }
                Waited::Failed => sleep(RETRY).await,
                Waited::Gone => return,
            }
        }
    }

    async fn wait(&self) -> Waited {
        loop {
            match timeout(LOOK, self.listener.accept()).await {
                Ok(Ok((stream, _))) => return Waited::Connected(stream),
                Ok(Err(_)) => return Waited::Failed,
                Err(_) if identity(&self.path).is_ok_and(|file| file == self.file) => {}
                Err(_) => return Waited::Gone,
            }
        }
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|file| file == self.file) {
            // what stays is replaced by the next daemon
            let _ = fs::remove_file(&self.path);
        }
    }
}

async fn converse(stream: UnixStream, handlers: &Handlers) -> io::Result<()> {
    let may_change = may_change(&stream);
    let (input, mut output) = stream.into_split();
    let mut line = Vec::new();
    let mut input = BufReader::new(input.take(REQUEST_MAX));
    timeout(LINE_TIMEOUT, input.read_until(b'\n', &mut line)).await??;
    let request = match serde_json::from_slice(&line) {
        Ok(Request::Trace(request)) if may_change => {
            handlers.traces.serve(request, input.into_inner().into_inner(), output).await;
            return Ok(());
        }
        Ok(Request::Facts(request)) => return handlers.facts.serve(request, output).await,
        request => request,
    };
    let response = respond(request, may_change, handlers);
    tokio::pin!(response);
    let response = loop {
        tokio::select! {
            response = &mut response => break response,
            // white space before JSON means nothing: the command learns that the daemon lives
            () = sleep(ALIVE) => timeout(LINE_TIMEOUT, output.write_all(b" ")).await??,
        }
    };
    let mut answer = serde_json::to_vec(&response)?;
    answer.push(b'\n');
    timeout(LINE_TIMEOUT, output.write_all(&answer)).await?
}

async fn respond(request: serde_json::Result<Request>, may_change: bool, handlers: &Handlers) -> Response {
    let Handlers { administration, traces, overview, .. } = handlers;
    match request {
        Ok(request) if !may_change && !request.is_reading() => {
            Response::Refused { reason: READING_ONLY.to_owned() }
        }
        Ok(Request::Status) => {
            let status = administration.status().await;
            Response::Status(Box::new(DaemonStatus { trace: traces.status(), ..status }))
        }
        Ok(Request::Identity) => Response::Identity(administration.identity()),
        Ok(Request::Overview) => {
            let overview = Arc::clone(overview);
            match tokio::task::spawn_blocking(move || overview.snapshot("", OVERVIEW_ROWS)).await {
                Ok(snapshot) => Response::Overview(Box::new(snapshot)),
                Err(error) => Response::Refused { reason: format!("the overview failed: {error}") },
            }
        }
        Ok(Request::Reload) => {
            // a task of its own: a command that leaves must not end it half way
            let administration = Arc::clone(administration);
            match tokio::spawn(async move { administration.reload().await }).await {
                Ok(Ok(reloaded)) => Response::Reloaded(reloaded),
                Ok(Err(reason)) => Response::Refused { reason },
                Err(error) => Response::Refused { reason: format!("the reload failed: {error}") },
            }
        }
        Ok(Request::TryReload) => match administration.try_out().await {
            Ok(reloaded) => Response::Reloaded(reloaded),
            Err(reason) => Response::Refused { reason },
        },
        Ok(Request::Trace(_) | Request::Facts(_)) => {
            Response::Refused { reason: "it has a connection of its own".to_owned() }
        }
        Err(error) => Response::Refused { reason: format!("this daemon does not know the request: {error}") },
    }
}

/// Whether the peer is root, or the user of the daemon; else it is a member of the group.
fn may_change(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw())
}

/// Only a socket, or nothing, may be at `path`: a connection to another file is refused, too.
fn check_path(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => Ok(()),
        Ok(_) => Err(ListenError::OtherFile),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What keeps the control socket from being made at `path`: another file that is there.
pub(crate) fn problem(path: &Path) -> Option<String> {
    let error = check_path(path).err()?;
    let reason = anyhow::Error::new(error);
    Some(format!("control_socket: cannot make the control socket {}: {reason:#}", path.display()))
}

/// Device and inode of the file at `path`.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// The answer to a member of the group who asks for more.
const READING_ONLY: &str = "only root and the daemon's user may ask for that: run the command as root";
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
/// Of the socket's file.
const MODE: u32 = 0o660;
/// Refusals in an overview.
const OVERVIEW_ROWS: usize = 50;
/// Commands that are answered at a time.
const CONNECTIONS_MAX: usize = 8;
/// Pause before the socket is made again.
const RETRY: Duration = Duration::from_secs(5);
/// How often the socket's file is looked for.
const LOOK: Duration = Duration::from_secs(1);
