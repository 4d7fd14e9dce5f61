//! The side of the successor: it asks the daemon that serves. It blocks, for seconds at most.

use std::{
    io::{self, ErrorKind, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    net::TcpListener,
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::Duration,
};

use rustix::{
    cmsg_space,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
};

use super::{ASK_ALL, ASK_SOCKETS, GIVEN_UP, SOCKETS, SOCKETS_MAX};

/// The daemon that serves until this one is ready.
#[derive(Debug)]
pub(crate) struct Predecessor {
    end: UnixStream,
}

impl Predecessor {
    /// The one that answers at one of the ends that systemd kept, and its listening sockets.
    pub(crate) fn find(ends: Vec<UnixStream>) -> Option<(Self, Vec<TcpListener>)> {
        ends.into_iter().find_map(|end| {
            let mut predecessor = Self { end };
            // one that has ended or that is finishing its sessions does not answer
            predecessor.ask_for_sockets().ok().map(|sockets| (predecessor, sockets))
        })
    }

    fn ask_for_sockets(&mut self) -> io::Result<Vec<TcpListener>> {
        self.end.set_nonblocking(false)?;
        self.end.set_read_timeout(Some(SOCKETS_TIMEOUT))?;
        self.end.set_write_timeout(Some(SOCKETS_TIMEOUT))?;
        self.end.write_all(&[ASK_SOCKETS])?;
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(SOCKETS_MAX))];
        let mut rights = RecvAncillaryBuffer::new(&mut space);
        let mut reply = [0];
        let flags = RecvFlags::CMSG_CLOEXEC;
        recvmsg(&self.end, &mut [IoSliceMut::new(&mut reply)], &mut rights, flags)?;
        if reply != [SOCKETS] {
            return Err(ErrorKind::InvalidData.into());
        }
        let received = rights.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
            _ => None,
        });
        Ok(received.flatten().map(|socket: OwnedFd| TcpListener::from(socket)).collect())
    }

    /// Has it give up everything that only one daemon may have, and waits until it has. From then
    /// on it only finishes its sessions.
    ///
    /// # Errors
    ///
    /// It is gone, or takes too long.
    pub(crate) fn take_over(mut self) -> io::Result<()> {
        self.end.set_read_timeout(Some(GIVEN_UP_TIMEOUT))?;
        self.end.write_all(&[ASK_ALL])?;
        let mut reply = [0];
        loop {
            self.end.read_exact(&mut reply)?;
            match reply {
                [GIVEN_UP] => return Ok(()),
                // to a start that failed before it read the reply
                [SOCKETS] => {}
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// How long the daemon that serves may take to reply with its sockets: it may be reloading.
const SOCKETS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to give up the rest.
const GIVEN_UP_TIMEOUT: Duration = Duration::from_secs(30);
