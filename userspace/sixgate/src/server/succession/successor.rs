//! The side of the daemon that serves: it waits for a successor.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    sync::Arc,
};

use rustix::{
    cmsg_space,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};
use sd_notify::NotifyState;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{TcpListener, UnixStream},
};
use tracing::warn;

use super::{ASK_ALL, ASK_SOCKETS, GIVEN_UP, SOCKETS, SOCKETS_MAX, STORED_NAME};

/// The daemon's end of the pair.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    /// `None` once no process has the other end.
    end: Option<UnixStream>,
}

/// A request of a successor, or the end of the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SuccessionEvent {
    /// A successor wants the listening sockets.
    AskedForSockets,
    /// A successor is ready, and wants all the rest.
    AskedForAll,
    /// No process has the other end: the service was stopped, or systemd did not keep it.
    Unheld,
}

impl Succession {
    /// Makes the pair, and has systemd keep the other end. Without systemd there is no successor.
    pub(crate) fn offer() -> Self {
        let offered = Self::try_offer().inspect_err(|error| {
            warn!("the next daemon cannot take over from this one: {error}");
        });
        Self { end: offered.ok() }
    }

    fn try_offer() -> io::Result<UnixStream> {
        let (ours, stored) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let state = [NotifyState::FdStore, NotifyState::FdName(STORED_NAME)];
        sd_notify::notify_with_fds(&state, &[stored.as_fd()])?;
        UnixStream::from_std(ours)
    }

    /// Whether a successor can still come.
    pub(crate) const fn is_held(&self) -> bool {
        self.end.is_some()
    }

    /// The next event; none ever after [`SuccessionEvent::Unheld`].
    pub(crate) async fn next(&mut self) -> SuccessionEvent {
        let Some(end) = &mut self.end else {
            return std::future::pending().await;
        };
        loop {
            match end.read_u8().await {
                Ok(ASK_SOCKETS) => return SuccessionEvent::AskedForSockets,
                Ok(ASK_ALL) => return SuccessionEvent::AskedForAll,
                // of another version
                Ok(_) => {}
                Err(_) => {
                    self.end = None;
                    return SuccessionEvent::Unheld;
                }
            }
        }
    }

    /// Gives the successor the listening sockets, too.
    pub(crate) async fn give_sockets(&self, sockets: &[Arc<TcpListener>]) {
        let Some(end) = &self.end else { return };
        let sockets: Vec<BorrowedFd<'_>> =
            sockets.iter().take(SOCKETS_MAX).map(|socket| socket.as_fd()).collect();
        let sent = end.async_io(Interest::WRITABLE, || send(end.as_fd(), &sockets)).await;
        if let Err(error) = sent {
            warn!("cannot give the next daemon the listening sockets: {error}");
        }
    }

    /// Tells the successor that it has everything now, and takes leave of it.
    pub(crate) async fn given_up(&mut self) {
        if let Some(mut end) = self.end.take() {
            // a successor that is gone has no use for it
            let _ = end.write_all(&[GIVEN_UP]).await;
        }
    }
}

fn send(end: BorrowedFd<'_>, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !sockets.is_empty() {
        rights.push(SendAncillaryMessage::ScmRights(sockets));
    }
    sendmsg(end, &[IoSlice::new(&[SOCKETS])], &mut rights, SendFlags::NOSIGNAL)?;
    Ok(())
}
