//! The socket below a connection: TCP or Unix.
//!
//! It owns what differs between the two; what goes over them is not its business.

use std::{io, mem::MaybeUninit, net::IpAddr, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::sleep,
};
use tokio_util::either::Either;

use crate::nexthop::address::Address;

/// Pause before a Unix socket is tried again whose queue of connections is full.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// A connected stream socket.
pub(super) type Stream = Either<TcpStream, UnixStream>;

/// Connects. A Unix socket whose queue is full is tried again for ever: TCP waits by itself, and
/// the caller has a deadline for both.
pub(super) async fn connect(address: &Address) -> io::Result<Stream> {
    match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address.resolve()?).await?;
            // Commands are short and wait for replies; the message goes out in large blocks.
            stream.set_nodelay(true)?;
            Ok(Either::Left(stream))
        }
        Address::Unix(path) => loop {
            match UnixStream::connect(path.as_path()).await {
                Ok(stream) => return Ok(Either::Right(stream)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_PAUSE).await,
                Err(error) => return Err(error),
            }
        },
    }
}

/// Both directions, to be used at the same time.
pub(super) fn split(stream: &mut Stream) -> (impl AsyncRead + Unpin, impl AsyncWrite + Unpin) {
    match stream {
        Either::Left(stream) => {
            let (from, to) = stream.split();
            (Either::Left(from), Either::Left(to))
        }
        Either::Right(stream) => {
            let (from, to) = stream.split();
            (Either::Right(from), Either::Right(to))
        }
    }
}

/// Our end's address; none of a Unix socket.
pub(super) fn own_address(stream: &Stream) -> Option<IpAddr> {
    match stream {
        Either::Left(stream) => stream.local_addr().ok().map(|address| address.ip().to_canonical()),
        Either::Right(_) => None,
    }
}

/// Whether both ends have one address, which is this host's.
pub(super) fn is_to_this_host(stream: &Stream) -> bool {
    match stream {
        Either::Left(stream) => match (stream.local_addr(), stream.peer_addr()) {
            (Ok(local), Ok(peer)) => local.ip() == peer.ip(),
            _ => false,
        },
        Either::Right(_) => true,
    }
}

/// The number of octets that wait to be read: none while nothing does, zero at the end of the
/// stream. The kernel is asked, not tokio, which may not have been notified of the octets yet.
pub(super) fn waiting(stream: &Stream) -> io::Result<Option<usize>> {
    let socket = match stream {
        Either::Left(stream) => SockRef::from(stream),
        Either::Right(stream) => SockRef::from(stream),
    };
    match socket.peek(&mut [MaybeUninit::uninit()]) {
        Ok(octets) => Ok(Some(octets)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
