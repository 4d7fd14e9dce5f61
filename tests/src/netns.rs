//! Network namespaces joined by veth pairs: real hosts, as far as IPv6 can tell, on one machine.
//!
//! A namespace without a name lives as long as a descriptor of it is open, so that neither a panic
//! nor a kill leaves one behind. It changes nothing but the network: mounts and processes stay
//! shared.

use std::{
    fs::File,
    net::{SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    panic::resume_unwind,
    path::Path,
    process::{Child, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use ipnet::Ipv6Net;
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};

use crate::timeouts::scaled;

/// A network namespace.
#[derive(Debug)]
pub struct Netns {
    handle: File,
    name: Option<String>,
}

impl Netns {
    /// A namespace without a name, its loopback interface up.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN.
    pub fn new() -> Result<Self> {
        let handle = thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("cannot open the new network namespace")
        });
        let handle = handle.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        let netns = Self { handle, name: None };
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// The namespace that this thread is in.
    ///
    /// # Errors
    /// Without /proc.
    pub fn current() -> Result<Self> {
        let handle = File::open("/proc/thread-self/ns/net").context("cannot open our network namespace")?;
        Ok(Self { handle, name: None })
    }

    /// A namespace that `ip netns` shows as `name`, its loopback interface up; one of that name
    /// that is there already is removed.
    ///
    /// # Errors
    /// Without CAP_SYS_ADMIN, or if `ip` fails.
    pub fn named(name: &str) -> Result<Self> {
        Self::remove(name)?;
        output(Command::new("ip").args(["netns", "add", name]))?;
        let path = Path::new(NAMED).join(name);
        let handle = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let netns = Self { handle, name: Some(name.to_owned()) };
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// Removes the namespace called `name`, if there is one.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn remove(name: &str) -> Result<()> {
        if Path::new(NAMED).join(name).exists() {
            output(Command::new("ip").args(["netns", "delete", name]))?;
        }
        Ok(())
    }

    /// Runs `task` on a thread that is inside; sockets that it opens stay inside wherever they are
    /// used.
    pub fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.handle, CloneFlags::CLONE_NEWNET)
                    .expect("a namespace that we hold can be entered");
                task()
            });
            inside.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// Starts `command` inside.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Result<Child> {
        // a process begins in the namespace of the thread that starts it
        self.run(|| command.spawn())
            .with_context(|| format!("cannot start {}", command.get_program().display()))
    }

    /// Runs `ip` inside with `arguments`, split at blanks.
    ///
    /// # Errors
    /// If it fails, with its messages.
    pub fn ip(&self, arguments: &str) -> Result<String> {
        self.tool("ip", arguments)
    }

    /// Runs another tool inside with `arguments`, split at blanks.
    ///
    /// # Errors
    /// If it fails, with its messages.
    pub fn tool(&self, program: &str, arguments: &str) -> Result<String> {
        self.run(|| output(Command::new(program).args(arguments.split_whitespace())))
    }

    /// Another handle of the same namespace.
    ///
    /// # Errors
    /// If no descriptor is left.
    pub fn try_clone(&self) -> Result<Self> {
        let handle = self.handle.try_clone().context("cannot open the namespace once more")?;
        Ok(Self { handle, name: None })
    }

    /// Gives `interface` the address of `net`, usable at once.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn add_address(&self, interface: &str, net: Ipv6Net) -> Result<()> {
        self.ip(&format!("address add {net} dev {interface} nodad")).map(drop)
    }

    /// Joins `interface` of this namespace with `peer_interface` of `peer`; both are up.
    ///
    /// # Errors
    /// If `ip` fails.
    pub fn join(&self, interface: &str, peer: &Self, peer_interface: &str) -> Result<()> {
        let peer_path = peer.path();
        // Two ends with the same index look like no veth pair to the kernel's link watch, which
        // then may take a second to let the first packet through.
        let index = NEXT_INDEX.fetch_add(2, Ordering::Relaxed);
        self.ip(&format!(
            "link add {interface} index {index} type veth peer name {peer_interface} index {} netns {peer_path}",
            index + 1
        ))?;
        self.ip(&format!("link set {interface} up"))?;
        peer.ip(&format!("link set {peer_interface} up"))?;
        Ok(())
    }

    /// A path that names it, as `ip link set … netns` takes one, while this is there.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }

    /// A UDP socket inside.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn udp(&self, address: SocketAddr) -> Result<UdpSocket> {
        self.run(|| UdpSocket::bind(address)).with_context(|| format!("cannot bind UDP {address}"))
    }

    /// A TCP listener inside.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn listen(&self, address: SocketAddr) -> Result<TcpListener> {
        self.run(|| TcpListener::bind(address)).with_context(|| format!("cannot listen on {address}"))
    }

    /// A TCP connection from inside; port 0 in `source` is any.
    ///
    /// # Errors
    /// The error of connect(2).
    pub fn connect(&self, source: SocketAddrV6, destination: SocketAddrV6) -> std::io::Result<TcpStream> {
        self.run(|| connect(source, destination))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.name.as_deref().map(Self::remove) {
            eprintln!("{error:#}");
        }
    }
}

/// A TCP connection from `source` in this thread's namespace, made within [`CONNECT_TIMEOUT`],
/// scaled.
///
/// # Errors
/// The error of bind(2) or connect(2).
pub fn connect(source: SocketAddrV6, destination: SocketAddrV6) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&source.into())?;
    socket.connect_timeout(&destination.into(), scaled(CONNECT_TIMEOUT))?;
    Ok(socket.into())
}

/// The output of `command`; an error with its messages if it does not end with 0.
fn output(command: &mut Command) -> Result<String> {
    let output =
        command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    ensure!(
        output.status.success(),
        "{command:?} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How long a connection may take: a SYN that is dropped is sent again after 1, 2 and 4 seconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const NAMED: &str = "/run/netns";

/// Interface indices need to differ within a pair only; a high start keeps clear of those that the
/// kernel gives.
static NEXT_INDEX: AtomicU32 = AtomicU32::new(1000);
