//! The daemon's notifications for systemd (sd_notify(3)), passed on by the process that systemd
//! watches: so the unit takes them from that process alone (`NotifyAccess=main`).
//!
//! It owns the socket between the two. The texts are the daemon's business.

use std::{
    env,
    ffi::OsStr,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    path::PathBuf,
    thread,
};

use rustix::{
    cmsg_space,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};
use tempfile::TempDir;

/// The socket that the daemon sends its notifications to. It exists as long as this does.
pub(super) struct Notifications {
    folder: TempDir,
}

impl Notifications {
    /// Makes the socket, and a thread that passes on to systemd what arrives there. `None` without
    /// systemd.
    ///
    /// # Errors
    /// The system's, when the socket cannot be made, or systemd's not be reached.
    pub(super) fn relay() -> io::Result<Option<Self>> {
        let Some(address) = env::var_os(ADDRESS) else {
            return Ok(None);
        };
        let systemd = UnixDatagram::unbound()?;
        systemd.connect_addr(&parsed(&address)?)?;
        // only this user can enter it
        let folder = tempfile::Builder::new().prefix("sixgate-notify-").tempdir()?;
        let this = Self { folder };
        let ours = UnixDatagram::bind(this.socket())?;
        thread::Builder::new().name("notifications".to_owned()).spawn(move || {
            loop {
                match pass_on(&ours, &systemd) {
                    Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                    Ok(()) | Err(_) => {}
                }
            }
        })?;
        Ok(Some(this))
    }

    /// The variable and its value in the daemon's environment.
    pub(super) fn environment(&self) -> (&'static str, PathBuf) {
        (ADDRESS, self.socket())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }
}

/// An address as sd_notify(3) writes it: a path, or `@` and an abstract name.
fn parsed(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(address),
    }
}

fn pass_on(ours: &UnixDatagram, systemd: &UnixDatagram) -> io::Result<()> {
    let mut text = [0; TEXT_MAX];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(ours, &mut [IoSliceMut::new(&mut text)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    // a part of a notification may have another meaning than the whole
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Ok(());
    }
    let descriptors: Vec<OwnedFd> = rights
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let borrowed: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() {
        rights.push(SendAncillaryMessage::ScmRights(&borrowed));
    }
    // systemd takes the next one, if not this one
    let _ = sendmsg(systemd, &[IoSlice::new(&text[..received.bytes])], &mut rights, SendFlags::NOSIGNAL);
    Ok(())
}

/// The variable that has the address of the socket for notifications.
const ADDRESS: &str = "NOTIFY_SOCKET";
/// The longest notification, in octets; the daemon's have some hundred.
const TEXT_MAX: usize = 4096;
/// The most descriptors of one notification; the daemon's have one.
const DESCRIPTORS_MAX: usize = 4;
