//! The servers that refuse, each on a gate of its own: sixgate's two ways, and Postfix's two.
//!
//! It starts them as cheap as each can be made to refuse at RCPT; who wins is not its business.

use std::{
    net::{Ipv6Addr, SocketAddrV6},
    path::PathBuf,
};

use anyhow::{Context as _, Result, ensure};
use aya::programs::XdpMode;
use sixgate_dataplane::Pins;

use super::{
    load::{Refusal, Script},
    usage::{BpfTime, Processes},
};
use sixgate_tests::{
    daemon::Daemon,
    postfix::{self, Postfix},
    site::{GATE, INTERFACE, OTHER, PEER, SENDER, Site},
    xdp_helper::Pass,
};

/// The server that refuses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Peer {
    /// sixgate's XDP program.
    Kernel,
    /// The same, and the clients are of [`NETWORKS`] networks.
    KernelNetworks,
    /// The daemon of sixgate.
    Daemon,
    /// The postscreen of Postfix.
    Postscreen,
    /// The smtpd of Postfix.
    Smtpd,
}

/// A server at work.
pub(super) struct Server {
    pub(super) site: Site,
    /// Where the clients are.
    pub(super) sources: Vec<Ipv6Addr>,
    pub(super) destination: SocketAddrV6,
    pub(super) script: Script,
    pub(super) processes: Processes,
    /// sixgate's XDP program.
    pub(super) program: Option<PathBuf>,
    /// The program at the other end of the link, which passes everything on.
    pass: Option<Pass>,
    _running: Running,
}

/// What runs as long as the server is there.
enum Running {
    Sixgate { _daemon: Daemon },
    Postfix { _postfix: Postfix },
}

impl Peer {
    /// Everybody, in the order of the table.
    pub(super) const ALL: [Self; 5] =
        [Self::Kernel, Self::KernelNetworks, Self::Daemon, Self::Postscreen, Self::Smtpd];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "sixgate, answer = \"kernel\"",
            Self::KernelNetworks => "the same, clients of 256 networks",
            Self::Daemon => "sixgate, answer = \"daemon\"",
            Self::Postscreen => "Postfix postscreen",
            Self::Smtpd => "Postfix smtpd",
        }
    }

    /// How it was made to refuse, for the table.
    pub(super) const fn configuration(self) -> &'static str {
        match self {
            Self::Kernel | Self::KernelNetworks | Self::Daemon => SIXGATE,
            Self::Postscreen => POSTSCREEN,
            Self::Smtpd => SMTPD,
        }
    }

    /// Starts it and has a first session with it.
    ///
    /// # Errors
    /// If it is not there, does not start, or does not refuse as it should.
    pub(super) fn start(self) -> Result<Server> {
        match self {
            Self::Kernel => sixgate("kernel", 1),
            Self::KernelNetworks => sixgate("kernel", NETWORKS),
            Self::Daemon => sixgate("daemon", 1),
            Self::Postscreen => postfix(
                |site, address| Postfix::start_postscreen(&site.gate, address.into(), POSTSCREEN),
                &["220 ", "250 ", "250 ", "550 5.3.2 ", "221 "],
            ),
            Self::Smtpd => postfix(
                |site, address| Postfix::start(&site.gate, address.into(), SMTPD),
                &["220 ", "250 ", "250 ", "554 5.7.1 ", "221 "],
            ),
        }
    }
}

impl Server {
    /// The time that the XDP program has taken so far.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub(super) fn bpf(&self) -> Result<BpfTime> {
        self.program.as_deref().map_or_else(|| Ok(BpfTime::default()), BpfTime::of_pinned)
    }

    /// The time that the program at the other end of the link has taken so far.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub(super) fn pass(&self) -> Result<BpfTime> {
        self.pass.as_ref().map_or_else(|| Ok(BpfTime::default()), |pass| Ok(BpfTime::of(&pass.info()?)))
    }
}

/// sixgate on a native veth: GATE has opted in, OTHER has not.
fn sixgate(answer: &str, networks: u16) -> Result<Server> {
    let settings = format!("answer = \"{answer}\"\nxdp.interfaces = [\"{INTERFACE}\"]\n{SIXGATE}");
    let site = site(&settings)?;
    let mut sources = vec![SENDER.parse()?];
    for network in 1..networks {
        let source = Ipv6Addr::new(0x2001, 0xdb8, 0x51, network, 0, 0, 0, 4);
        site.outside.add_address(PEER, format!("{source}/64").parse()?)?;
        sources.push(source);
    }
    site.sixgate(&format!("optin add {GATE}"));
    let pass = Pass::attach(&site.outside, PEER, XdpMode::Driver)?;
    let daemon = site.try_serve(&[])?;
    let destination = destination()?;
    let refusal = ["220 ", "250 ", "250 ", REFUSED, "221 "];
    let script = Script::of_server(&site.outside, destination, &refusal)?;
    let by_daemon = site.counter("tag_not_opted_in");
    ensure!(
        (answer == "daemon") == (by_daemon > 0),
        "{by_daemon} sessions were left to the daemon; its log: {}",
        daemon.log()
    );
    Ok(Server {
        sources,
        destination,
        script,
        processes: Processes::One(daemon.pid()),
        program: Some(Pins::new(&site.pins()).directory().join("program")),
        pass: Some(pass),
        _running: Running::Sixgate { _daemon: daemon },
        site,
    })
}

/// Postfix instead of sixgate.
fn postfix(start: impl FnOnce(&Site, SocketAddrV6) -> Result<Postfix>, refusal: &Refusal) -> Result<Server> {
    ensure!(postfix::folder().is_some(), "Postfix is not below target/tools (cargo xtask setup)");
    let (site, destination) = (site("")?, destination()?);
    let postfix = start(&site, destination)?;
    let script = Script::of_server(&site.outside, destination, refusal)
        .with_context(|| format!("log: {}", postfix.log()))?;
    Ok(Server {
        sources: vec![SENDER.parse()?],
        destination,
        script,
        processes: Processes::Group(postfix.pid()),
        program: None,
        pass: None,
        _running: Running::Postfix { _postfix: postfix },
        site,
    })
}

/// Two hosts that know each other's addresses.
fn site(settings: &str) -> Result<Site> {
    let site = Site::new("", settings);
    site.outside.add_address(PEER, format!("{SENDER}/64").parse()?)?;
    Ok(site)
}

fn destination() -> Result<SocketAddrV6> {
    Ok(SocketAddrV6::new(OTHER.parse()?, 25, 0, 0))
}

const REFUSED: &str = "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.";

/// Settings, each on a line: they stand in the table, too.
const SIXGATE: &str = "xdp.mode = \"native\"";
const POSTSCREEN: &str = "postscreen_access_list = static:reject
postscreen_denylist_action = enforce
postscreen_dnsbl_sites =
postscreen_greet_banner =
postscreen_cache_map =";
const SMTPD: &str = "smtpd_client_restrictions = reject
smtpd_delay_reject = yes";
/// Networks (/64), each with a client: of each of them a number of ends is reported to the daemon.
const NETWORKS: u16 = 256;
