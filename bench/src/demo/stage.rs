//! The demo's stage: a namespace joined to ours, a DNS server, a bpf file system, the daemon.
//!
//! It owns all that has to be taken away again, be it after an earlier demo that was killed.

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sixgate_tests::{
    client::Client,
    daemon::{self, Daemon},
    dns::{DnsServer, Zone},
    netns::Netns,
    settings,
};

/// Everything the demo needs, set up. Striking it takes it away.
pub(super) struct Stage {
    pub(super) config: PathBuf,
    daemon: Daemon,
    _dns: DnsServer,
    // last: the interface goes with it
    _gate: Netns,
}

/// The namespace's name.
pub(super) const NAMESPACE: &str = "sixgate-demo";
/// Where everything lies.
pub(super) const FOLDER: &str = "/run/sixgate-demo";
/// The gate's end of the link, in the namespace.
pub(super) const INTERFACE: &str = "gate0";
/// A destination that has opted in.
pub(super) const OPTED_IN: &str = "2001:db8:25::25";
/// A destination that has not.
pub(super) const NOT_OPTED_IN: &str = "2001:db8:25::99";
/// The senders' addresses, all on our end of the link.
pub(super) const SENDERS: [&str; 5] =
    ["2001:db8:51::1", "2001:db8:51::2", "2001:db8:51::3", "2001:db8:51::4", "2001:db8:51::5"];
/// The recipients' domain.
pub(super) const DOMAIN: &str = "contoso.com";

impl Stage {
    /// Removes what an earlier demo left, then sets up everything.
    pub(super) fn set(zone: &str) -> Result<Self> {
        clean_up()?;
        Self::set_clean(zone).inspect_err(|_| {
            if let Err(error) = clean_up() {
                eprintln!("{error:#}");
            }
        })
    }

    fn set_clean(zone: &str) -> Result<Self> {
        let gate = Netns::named(NAMESPACE)?;
        join(&gate)?;
        let dns = serve_dns(&gate, zone)?;
        let config = write_files()?;
        sixgate(&gate, &config, &["init"])?;
        for command in [["optin", "add", OPTED_IN], ["domain", "add", DOMAIN]] {
            sixgate(&gate, &config, &command)?;
        }
        let mut daemon = Daemon::start(Some(&gate), &config, &[])?;
        daemon.wait_until_settled()?;
        Ok(Self { config, daemon, _dns: dns, _gate: gate })
    }

    /// Runs a command of sixgate where the user would: outside the namespace.
    pub(super) fn sixgate(&self, arguments: &[&str]) -> Result<String> {
        let output = daemon::run(None, &self.config, arguments)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Where messages are delivered.
    pub(super) fn maildir() -> PathBuf {
        Path::new(FOLDER).join("Maildir/new")
    }

    /// Stops the daemon and removes everything.
    pub(super) fn strike(self) -> Result<()> {
        let Self { daemon, _dns, _gate, .. } = self;
        daemon.stop()?;
        drop((_dns, _gate));
        clean_up()
    }
}

/// Removes everything that carries the demo's names.
fn clean_up() -> Result<()> {
    if Path::new("/run/netns").join(NAMESPACE).exists() {
        let list =
            Command::new("ip").args(["netns", "pids", NAMESPACE]).output().context("cannot start ip")?;
        for pid in String::from_utf8_lossy(&list.stdout).split_whitespace() {
            // one that has ended meanwhile is what we want
            let _ = kill(Pid::from_raw(pid.parse()?), Signal::SIGKILL);
        }
        Netns::remove(NAMESPACE)?;
    }
    if Path::new("/sys/class/net").join(OUR_END).exists() {
        let status = Command::new("ip").args(["link", "delete", OUR_END]).stderr(Stdio::null()).status()?;
        // it may have gone by itself, with its peer's namespace
        ensure!(
            status.success() || !Path::new("/sys/class/net").join(OUR_END).exists(),
            "cannot delete {OUR_END}"
        );
    }
    let bpf = Path::new(FOLDER).join("bpf");
    while umount2(&bpf, MntFlags::MNT_DETACH).is_ok() {}
    match fs::remove_dir_all(FOLDER) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {FOLDER}"))
        }
        _ => Ok(()),
    }
}

/// A link between our namespace and the gate's, with routes both ways.
fn join(gate: &Netns) -> Result<()> {
    let here = Netns::current()?;
    gate.join(INTERFACE, &here, OUR_END)?;
    // a machine may have IPv6 switched off by default
    let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{OUR_END}/disable_ipv6"), "0");
    for address in [OPTED_IN, NOT_OPTED_IN] {
        gate.add_address(INTERFACE, format!("{address}/64").parse()?)?;
    }
    for address in SENDERS {
        here.add_address(OUR_END, format!("{address}/64").parse()?)?;
    }
    gate.ip(&format!("route add 2001:db8:51::/64 dev {INTERFACE}"))?;
    here.ip(&format!("route add 2001:db8:25::/64 dev {OUR_END}"))?;
    Ok(())
}

fn serve_dns(gate: &Netns, zone: &str) -> Result<DnsServer> {
    let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 53);
    let (udp, tcp) = (gate.udp(address)?, gate.listen(address)?);
    Zone::parse(zone)?.serve_on(udp, tcp).context("cannot start the DNS server")
}

/// The run folder with the configuration in it and a bpf file system of its own.
fn write_files() -> Result<PathBuf> {
    let bpf = Path::new(FOLDER).join("bpf");
    fs::create_dir_all(&bpf).with_context(|| format!("cannot make {}", bpf.display()))?;
    mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("cannot mount a bpf file system at {}", bpf.display()))?;
    let mut table = settings::usual(Path::new(FOLDER), "[::1]:53");
    settings::lay_over(&mut table, format!("xdp.interfaces = [\"{INTERFACE}\"]").parse()?);
    let config = Path::new(FOLDER).join("sixgate.toml");
    fs::write(&config, table.to_string()).with_context(|| format!("cannot write {}", config.display()))?;
    Ok(config)
}

fn sixgate(gate: &Netns, config: &Path, arguments: &[&str]) -> Result<()> {
    let output = daemon::run(Some(gate), config, arguments)?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "sixgate {} failed: {}", arguments.join(" "), text.trim());
    Ok(())
}

/// Connects as a sender does, from our end of the link.
pub(super) fn connect(source: &str, destination: &str) -> Result<Client> {
    let address = |text: &str, port| anyhow::Ok(SocketAddrV6::new(text.parse()?, port, 0, 0));
    Client::connect(None, address(source, 0)?, address(destination, 25)?)
        .with_context(|| format!("{source} cannot connect to {destination}"))
}

const OUR_END: &str = "sixgate-demo0";
