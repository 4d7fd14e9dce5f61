//! The settings of a configuration, and what follows from them.
//!
//! It reads no file; the form of the file is in `document`.

use std::{
    collections::BTreeMap,
    net::{Ipv6Addr, SocketAddr},
    num::{NonZeroU8, NonZeroU32},
    path::PathBuf,
    time::Duration,
};

use serde::Deserialize;
use sixgate_auth::{
    dkim::{DkimSettings, PartialBody},
    dns::DnsBounds,
    spf::VoidTerms,
};
use sixgate_base::endpoint::Endpoint;
use sixgate_common::names;
use sixgate_dataplane::AttachMode;
use sixgate_smtp::{
    policy::{Mode, PermanentRefusals, Policy, TemporaryRefusals},
    reply::ReplyTable,
};

use super::{
    http::Http,
    limits::Limits,
    log::{LogFormat, LogLevel, LogProgram},
    quantities,
    renamed_keys::RenamedKey,
    tls::Tls,
    values::{self, Domains, GuardSource, Hostname, InterfaceName, RefuseAt, ResponderSetting},
};
use crate::nexthop::{Address, ClientIdentity, Protocol};

/// The path of the configuration without `--config`.
pub const DEFAULT_PATH: &str = "/etc/sixgate/sixgate.toml";

/// The file beside the store that keeps what the next hop offered last.
pub(crate) const OFFER_FILE: &str = "next-hop.json";
/// The file beside the store that keeps what shadow mode passed on.
pub(crate) const SHADOW_FILE: &str = "shadow.db";

/// Longest configuration file, in octets.
pub(super) const FILE_MAX: u64 = 1 << 20;

/// The whole configuration, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file that it was read from, an absolute path.
    pub file: PathBuf,
    /// Our name in greetings, Received, and authserv-id.
    pub hostname: Hostname,
    /// Refuse, or only report what would have been refused.
    pub mode: Mode,
    /// Whether the XDP program or the daemon replies to refused connections.
    pub answer: ResponderSetting,
    /// At which point a destination that has not opted in is refused.
    pub refuse_at: RefuseAt,
    /// Which refusals are permanent although they are temporary by default.
    pub permanent_refusals: PermanentRefusals,
    /// Which refusals are temporary although they are permanent by default.
    pub temporary_refusals: TemporaryRefusals,
    /// Which recipients' domains take mail here.
    pub domains: Domains,
    /// Whether the daemon restricts its own files and system calls.
    pub sandbox: bool,
    /// The opt-in store's file, an absolute path.
    pub store: PathBuf,
    /// Where large messages lie while they are examined, an absolute path.
    pub temporary_directory: PathBuf,
    /// The socket at which the daemon answers commands, an absolute path; none: the one of the
    /// file's name.
    pub control_socket: Option<PathBuf>,
    /// Where the daemon listens.
    pub listen: Listen,
    /// How DNS is asked.
    pub dns: Dns,
    /// The requirements on reverse DNS.
    pub ptr: Ptr,
    /// How SPF records are read.
    pub spf: Spf,
    /// The requirements on DKIM signatures.
    pub dkim: Dkim,
    /// Where accepted mail goes.
    pub next_hop: NextHop,
    /// The XDP program and its maps.
    pub xdp: Xdp,
    /// STARTTLS; none: it is not offered.
    pub tls: Option<Tls>,
    /// Bounds of the daemon.
    pub limits: Limits,
    /// The daemon's log.
    pub log: Log,
    /// The daemon's counters.
    pub metrics: Metrics,
    /// The listener for metrics and the status page.
    pub http: Http,
    /// The report about what shadow mode passes on.
    pub shadow: Shadow,
    /// The keys of the file that have a new name.
    pub renamed_keys: Vec<RenamedKey>,
}

/// The table `[listen]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// IPv6 addresses with ports, at least one.
    #[serde(deserialize_with = "values::listen_addresses")]
    pub addresses: Vec<Endpoint>,
}

/// The table `[dns]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Servers to ask; empty: those of /etc/resolv.conf.
    #[serde(deserialize_with = "values::server_addresses")]
    pub servers: Vec<Endpoint>,
    /// How long one attempt may take.
    #[serde(deserialize_with = "quantities::wait")]
    pub timeout: Duration,
    /// Tries in all per name.
    pub attempts: NonZeroU8,
}

/// The table `[ptr]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Ptr {
    /// Whether a PTR record must lead back to the address.
    pub demand_forward_confirmation: bool,
}

/// The table `[spf]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Spf {
    /// Whether a term is void whose hosts have addresses of the other family than the client's
    /// only.
    pub count_missing_family_as_void: bool,
}

/// The table `[dkim]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Dkim {
    /// Whether a signature that leaves the end of the body unsigned (`l=`) may pass.
    pub accept_partial_body: bool,
}

/// The table `[next_hop]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NextHop {
    /// A Maildir, an absolute path.
    Maildir(PathBuf),
    /// A mail server.
    Server {
        /// The protocol of the server: LMTP or SMTP.
        protocol: Protocol,
        /// Where it listens.
        address: Address,
        /// How it learns the real client.
        client: ClientIdentity,
    },
}

/// The table `[xdp]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Xdp {
    /// Interfaces that the daemon attaches itself to if nothing is attached there yet; empty: none.
    pub interfaces: Vec<InterfaceName>,
    /// How the program is attached.
    pub mode: AttachMode,
    /// The directory of the pins, an absolute path on a bpf file system; they lie in its part of
    /// the layout's name ([`names::LAYOUT`]).
    #[serde(deserialize_with = "values::absolute_path")]
    pub bpffs: PathBuf,
    /// Which addresses are ours.
    pub guard: GuardSource,
    /// Bound of the map OPTIN, in prefixes.
    pub optin_entries: NonZeroU32,
    /// Bound of the map PTR, in addresses.
    pub ptr_entries: NonZeroU32,
    /// Bound of the map FLOWS, in connections.
    pub flow_entries: NonZeroU32,
    /// The file of the key of the program's cookies, an absolute path; none: one is drawn.
    #[serde(deserialize_with = "values::optional_path")]
    pub cookie_key: Option<PathBuf>,
}

/// The table `[log]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// In which form.
    pub format: LogFormat,
    /// The program that lines of the form `postfix` name.
    pub program: LogProgram,
}

/// The table `[metrics]`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Metrics {
    /// The file of Prometheus text, an absolute path; none: no file.
    #[serde(deserialize_with = "values::optional_path")]
    pub file: Option<PathBuf>,
}

/// The table `[shadow]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Shadow {
    /// How long a refusal that was passed on is kept for the report; zero: none is.
    #[serde(deserialize_with = "quantities::retention")]
    pub keep: Duration,
    /// How many are kept at most.
    pub entries: NonZeroU32,
}

impl Default for Shadow {
    fn default() -> Self {
        Self { keep: Duration::from_secs(7 * 24 * 60 * 60), entries: SHADOW_ENTRIES }
    }
}

/// Refusals that are kept by default: some 40 MB.
const SHADOW_ENTRIES: NonZeroU32 = NonZeroU32::new(100_000).unwrap();

impl Config {
    /// Which terms of SPF records are void, and how many may be.
    #[must_use]
    pub fn void_terms(&self) -> VoidTerms {
        VoidTerms {
            limit: self.limits.spf_void_terms,
            count_missing_family: self.spf.count_missing_family_as_void,
        }
    }

    /// The settings that decide about refusals, by key, with the values as in the file: for
    /// comparing file, kernel and daemon.
    #[must_use]
    pub fn refusal_settings(&self) -> BTreeMap<String, String> {
        let PermanentRefusals { no_ptr, not_authenticated } = self.permanent_refusals;
        let permanent = [no_ptr.then_some("no_ptr"), not_authenticated.then_some("not_authenticated")];
        let temporary = self.temporary_refusals.not_opted_in.then_some("not_opted_in");
        [
            ("mode", self.mode.name().to_owned()),
            ("answer", self.answer.name().to_owned()),
            ("refuse_at", self.refuse_at.name().to_owned()),
            ("permanent_refusals", permanent.into_iter().flatten().collect::<Vec<_>>().join(", ")),
            ("temporary_refusals", temporary.unwrap_or_default().to_owned()),
            ("domains", self.domains.name().to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    /// How DKIM signatures are verified.
    #[must_use]
    pub fn dkim_settings(&self) -> DkimSettings {
        let Limits {
            dkim_concurrency_small,
            dkim_concurrency_large,
            dkim_large_message,
            dkim_queue_timeout,
            dkim_max_hashed,
            ..
        } = self.limits;
        let partial_body =
            if self.dkim.accept_partial_body { PartialBody::Accepted } else { PartialBody::Refused };
        DkimSettings {
            partial_body,
            concurrency_small: dkim_concurrency_small,
            concurrency_large: dkim_concurrency_large,
            large_message: dkim_large_message.get(),
            queue_timeout: dkim_queue_timeout,
            max_hashed: dkim_max_hashed.get(),
        }
    }

    /// The settings that verdicts depend on.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            mode: self.mode,
            demand_forward_confirmation: self.ptr.demand_forward_confirmation,
            client_trust: self.tls.as_ref().is_some_and(|tls| !tls.client_trust.is_empty()),
            next_hop_judges: match &self.next_hop {
                NextHop::Maildir(_) => true,
                NextHop::Server { client, .. } => client.is_sent(),
            },
        }
    }

    /// All replies that sixgate itself makes, to the octet: in the daemon as in the XDP program.
    #[must_use]
    pub fn reply_table(&self) -> ReplyTable {
        ReplyTable::new(self.hostname.as_str(), self.limits.message_size.get().into())
            .with_permanent(self.permanent_refusals)
            .with_temporary(self.temporary_refusals)
    }

    /// How much DNS may be asked.
    #[must_use]
    pub fn dns_bounds(&self) -> DnsBounds {
        let Limits { dns_questions_per_minute, dns_questions_per_domain, dns_concurrency, .. } = self.limits;
        DnsBounds {
            questions_per_minute: dns_questions_per_minute,
            questions_per_domain: dns_questions_per_domain,
            concurrency: dns_concurrency,
        }
    }
}

// The numbers of the defaults are checked by the compiler: `const` blocks.

impl Default for Listen {
    fn default() -> Self {
        Self { addresses: vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 25)).into()] }
    }
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(3),
            attempts: const { NonZeroU8::new(2).unwrap() },
        }
    }
}

impl Default for NextHop {
    fn default() -> Self {
        Self::Maildir(PathBuf::from("/var/mail/sixgate"))
    }
}

impl Default for Xdp {
    fn default() -> Self {
        Self {
            interfaces: Vec::new(),
            mode: AttachMode::default(),
            bpffs: PathBuf::from("/sys/fs/bpf/sixgate"),
            guard: GuardSource::default(),
            optin_entries: const { NonZeroU32::new(names::OPTIN_ENTRIES).unwrap() },
            ptr_entries: const { NonZeroU32::new(names::PTR_ENTRIES).unwrap() },
            flow_entries: const { NonZeroU32::new(names::FLOWS_ENTRIES).unwrap() },
            cookie_key: None,
        }
    }
}
