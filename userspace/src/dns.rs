//! One resolver for everything: the only module that names hickory_resolver.
//!
//! It asks, and says what came back and for how long that holds. "There is no such record" is an answer;
//! "nobody could say" is a failure; the two are never mixed. What an answer means is decided elsewhere.

use std::{
    net::{Ipv6Addr, SocketAddr},
    num::NonZeroU8,
    sync::Arc,
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
    system_conf::read_system_conf,
};
use mail_auth::{MessageAuthenticator, common::to_a_label};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use thiserror::Error;

/// Answers that the resolver keeps; each is bounded by the size of a DNS message.
pub const CACHED_ANSWERS: u64 = 4096;
/// Servers that are asked one by one when the first answer was an error.
pub const MAX_APART: usize = 3;
const CACHED_APART: u64 = 512;
/// The longest time that the resolver keeps a record, whatever its TTL says.
pub const LONGEST_POSITIVE: Duration = Duration::from_hours(24);
/// The longest time that the resolver keeps "there is none" (RFC 2308 5 advises hours; a sender who has just been
/// told to publish a record should not have to wait so long).
pub const LONGEST_NEGATIVE: Duration = Duration::from_mins(15);
/// The longest domain name in text, without the final dot (RFC 1035 2.3.4).
pub const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// The resolver. A clone is cheap and shares the cache.
#[derive(Clone)]
pub struct Dns(Arc<Resolvers>);

struct Resolvers {
    /// Asks all servers, the fastest first.
    together: MessageAuthenticator,
    /// Each server by itself; empty if there is but one.
    alone: Vec<TokioResolver>,
}

/// What DNS says, the empty set included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer<T> {
    /// The records; empty for NXDOMAIN and NODATA.
    pub records: Vec<T>,
    /// How long that holds: the shortest TTL on the way, CNAMEs included; for the empty set the negative TTL of
    /// RFC 2308 5, and zero when the server gave none.
    pub ttl: Duration,
}

/// The resolver cannot be set up.
#[derive(Debug, Error)]
pub enum SetupError {
    /// /etc/resolv.conf is of no use.
    #[error("cannot take name servers from /etc/resolv.conf")]
    SystemServers {
        /// Why.
        source: NetError,
    },
    /// The library refuses.
    #[error("cannot set up the DNS resolver")]
    Resolver {
        /// Why.
        source: NetError,
    },
}

/// DNS could not answer: nothing is known about the record. For logs only, never for a stranger.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum DnsFailure {
    /// A server answered with an error such as SERVFAIL, REFUSED or FORMERR.
    #[error("the DNS server answered {code} for {question}")]
    Code {
        /// Name and type.
        question: String,
        /// The response code, in words.
        code: String,
    },
    /// A server answered with something that is neither records nor their absence.
    #[error("the DNS server gave no usable answer for {question}: {reason}")]
    Unusable {
        /// Name and type.
        question: String,
        /// What the library says.
        reason: String,
    },
    /// No server answered in time.
    #[error("no DNS server answered in time for {question}")]
    TimedOut {
        /// Name and type.
        question: String,
    },
}

impl Dns {
    /// Asks `servers` (if empty, those of /etc/resolv.conf), `attempts` times in all, each time for `timeout`.
    /// All names are absolute; neither search domains nor /etc/hosts take part.
    ///
    /// # Errors
    /// [`SetupError`] when there is no server to ask.
    pub fn new(servers: &[SocketAddr], timeout: Duration, attempts: NonZeroU8) -> Result<Self, SetupError> {
        let servers = name_servers(servers)?;
        let apart = if servers.len() > 1 { servers.get(..MAX_APART).unwrap_or(&servers) } else { &[] };
        let mut once = options(timeout, NonZeroU8::MIN);
        once.cache_size = CACHED_APART;
        let alone = apart.iter().map(|server| resolver(vec![server.clone()], once.clone()));
        let alone = alone.collect::<Result<_, _>>()?;
        let together = MessageAuthenticator(resolver(servers, options(timeout, attempts))?);
        Ok(Self(Arc::new(Resolvers { together, alone })))
    }

    /// The names that `address` points to, absolute without the final dot, odd octets escaped (RFC 4343 2.1).
    /// A CNAME in ip6.arpa is followed (RFC 2317). The library answers for `::1` itself: `localhost`.
    ///
    /// # Errors
    /// [`DnsFailure`] when nothing is known.
    pub async fn ptr(&self, address: Ipv6Addr) -> Result<Answer<String>, DnsFailure> {
        self.ask(Name::from(address), RecordType::PTR, |data| match data {
            RData::PTR(name) => Some(text(name)),
            _ => None,
        })
        .await
    }

    /// The IPv6 addresses of `name`. A text that DNS cannot hold as a name has none.
    ///
    /// # Errors
    /// [`DnsFailure`] when nothing is known.
    pub async fn aaaa(&self, name: &str) -> Result<Answer<Ipv6Addr>, DnsFailure> {
        self.ask_text(name, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// The TXT records of `name`, the strings of each joined without a space (RFC 6376 3.6.2.2, RFC 7208 3.3).
    /// A text that DNS cannot hold as a name has none.
    ///
    /// # Errors
    /// [`DnsFailure`] when nothing is known.
    pub async fn txt(&self, name: &str) -> Result<Answer<Vec<u8>>, DnsFailure> {
        self.ask_text(name, RecordType::TXT, |data| match data {
            RData::TXT(strings) => Some(strings.txt_data.concat()),
            _ => None,
        })
        .await
    }

    /// mail-auth over the same resolver and cache.
    #[must_use]
    pub fn authenticator(&self) -> &MessageAuthenticator {
        &self.0.together
    }

    async fn ask_text<T>(
        &self,
        name: &str,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Result<Answer<T>, DnsFailure> {
        let labels = name.strip_suffix('.').unwrap_or(name).split('.').map(str::as_bytes);
        match Name::from_labels(labels) {
            Ok(name) => self.ask(name, kind, pick).await,
            Err(_) => Ok(Answer::none()),
        }
    }

    async fn ask<T>(
        &self,
        name: Name,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Result<Answer<T>, DnsFailure> {
        let first = ask_one(self.0.together.resolver(), name.clone(), kind, &pick).await;
        if matches!(first, Err(DnsFailure::Code { .. })) {
            // The library takes the first SERVFAIL or REFUSED of any server for the last word.
            for resolver in &self.0.alone {
                let other = ask_one(resolver, name.clone(), kind, &pick).await;
                if other.is_ok() {
                    return other;
                }
            }
        }
        first
    }
}

impl<T> Answer<T> {
    fn none() -> Self {
        Self { records: Vec::new(), ttl: Duration::ZERO }
    }
}

/// `name` in the form that DNS asks for and records show: A-labels (RFC 5890 2.3.2.1), lower case, no final dot.
/// None for what is no host-like name: other characters than letters, digits, `-` and `_`, or lengths beyond
/// RFC 1035 2.3.4.
#[must_use]
pub fn ascii_name(name: &str) -> Option<String> {
    // No name of so many octets becomes shorter as A-labels than DNS allows.
    if name.len() > 4 * LONGEST_NAME {
        return None;
    }
    let name = to_a_label(name.strip_suffix('.').unwrap_or(name)).to_ascii_lowercase();
    let label_is_good = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    (name.len() <= LONGEST_NAME && name.split('.').all(label_is_good)).then_some(name)
}

async fn ask_one<T>(
    resolver: &TokioResolver,
    name: Name,
    kind: RecordType,
    pick: impl Fn(&RData) -> Option<T>,
) -> Result<Answer<T>, DnsFailure> {
    let question = format!("{} {kind}", name.to_ascii());
    let lookup = match resolver.lookup(name, kind).await {
        Ok(lookup) => lookup,
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) if says_no(&none) => {
            let ttl = Duration::from_secs(none.negative_ttl.unwrap_or(0).into());
            return Ok(Answer { records: Vec::new(), ttl });
        }
        Err(error) => return Err(failure(question, &error)),
    };
    let records: Vec<T> = lookup.answers().iter().filter_map(|record| pick(&record.data)).collect();
    if records.is_empty() {
        // the record sat in a section where it does not count
        let reason = "no such record among the answers".to_owned();
        return Err(DnsFailure::Unusable { question, reason });
    }
    let ttl = lookup.answers().iter().map(|record| record.ttl).min().unwrap_or(0);
    Ok(Answer { records, ttl: Duration::from_secs(ttl.into()) })
}

fn resolver(servers: Vec<NameServerConfig>, options: ResolverOpts) -> Result<TokioResolver, SetupError> {
    let config = ResolverConfig::from_parts(None, Vec::new(), servers);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .with_tls_config(no_tls()?)
        .build()
        .map_err(|source| SetupError::Resolver { source })
}

fn name_servers(servers: &[SocketAddr]) -> Result<Vec<NameServerConfig>, SetupError> {
    if servers.is_empty() {
        let (config, _) = read_system_conf().map_err(|source| SetupError::SystemServers { source })?;
        return Ok(config.name_servers().to_vec());
    }
    let at = |address: &SocketAddr| {
        let mut server = NameServerConfig::udp_and_tcp(address.ip());
        for connection in &mut server.connections {
            connection.port = address.port();
        }
        server
    };
    Ok(servers.iter().map(at).collect())
}

fn options(timeout: Duration, attempts: NonZeroU8) -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = timeout;
    // the library counts those after the first
    options.attempts = usize::from(attempts.get() - 1);
    options.cache_size = CACHED_ANSWERS;
    options.positive_max_ttl = Some(LONGEST_POSITIVE);
    options.negative_max_ttl = Some(LONGEST_NEGATIVE);
    options.use_hosts_file = ResolveHosts::Never;
    options
}

/// No server is asked over TLS, and the library's default fails where no CA certificates are installed.
fn no_tls() -> Result<ClientConfig, SetupError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Resolver { source: error.into() })?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Whether this really says that there is no such record: NXDOMAIN or NODATA (RFC 2308 2), not a referral and
/// not a response code that the library does not know.
fn says_no(none: &NoRecords) -> bool {
    let referral = none.ns.is_some() && none.soa.is_none();
    none.response_code == ResponseCode::NXDomain || (none.response_code == ResponseCode::NoError && !referral)
}

fn failure(question: String, error: &NetError) -> DnsFailure {
    match error {
        NetError::Dns(DnsError::ResponseCode(code)) => DnsFailure::Code { question, code: code.to_string() },
        NetError::Timeout => DnsFailure::TimedOut { question },
        other => DnsFailure::Unusable { question, reason: other.to_string() },
    }
}

fn text(name: &Name) -> String {
    let mut text = name.to_ascii();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_in_one_form_or_not_at_all() {
        let long_label = "a".repeat(64);
        let long_name = ["abcdefg"; 32].join(".");
        let rows = [
            ("Mail.Example.", Some("mail.example")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("s1._domainkey.example", Some("s1._domainkey.example")),
            ("", None),
            (".", None),
            ("a..example", None),
            ("a b.example", None),
            ("a\r\nb.example", None),
            ("[IPv6:::1]", None),
            (long_label.as_str(), None),
            (long_name.as_str(), None),
        ];
        for (name, wanted) in rows {
            assert_eq!(ascii_name(name).as_deref(), wanted, "{name:?}");
        }
    }
}
