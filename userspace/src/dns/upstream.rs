//! The servers that are asked, and what their answers say: the only module that names hickory_resolver's resolver.
//!
//! It keeps nothing: every question goes out. Who may ask how much is said elsewhere.

use std::{net::SocketAddr, num::NonZeroU8, sync::Arc, time::Duration};

use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    lookup::Lookup,
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::{
        op::ResponseCode,
        rr::{Name, RData, RecordType},
    },
    system_conf::read_system_conf,
};
use mail_auth::MessageAuthenticator;
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::{Answer, DnsFailure, LONGEST_NEGATIVE, LONGEST_POSITIVE, MAX_APART, SetupError};

/// The resolvers over all servers.
pub(super) struct Upstream {
    /// Asks all servers, the fastest first.
    together: MessageAuthenticator,
    /// Each server by itself; empty if there is but one.
    alone: Vec<TokioResolver>,
}

impl Upstream {
    /// As [`super::Dns::new`].
    pub(super) fn new(
        servers: &[SocketAddr],
        timeout: Duration,
        attempts: NonZeroU8,
    ) -> Result<Self, SetupError> {
        let servers = name_servers(servers)?;
        let apart = if servers.len() > 1 { servers.get(..MAX_APART).unwrap_or(&servers) } else { &[] };
        let once = options(timeout, NonZeroU8::MIN);
        let alone = apart.iter().map(|server| resolver(vec![server.clone()], once.clone()));
        let alone = alone.collect::<Result<_, _>>()?;
        let together = MessageAuthenticator(resolver(servers, options(timeout, attempts))?);
        Ok(Self { together, alone })
    }

    pub(super) fn authenticator(&self) -> &MessageAuthenticator {
        &self.together
    }

    /// Asks for the records of type `kind` at `name`.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Answer<RData>, DnsFailure> {
        let first = ask_one(self.together.resolver(), name, kind).await;
        if matches!(first, Err(DnsFailure::Code { .. })) {
            // The library takes the first SERVFAIL or REFUSED of any server for the last word.
            for resolver in &self.alone {
                let other = ask_one(resolver, name, kind).await;
                if other.is_ok() {
                    return other;
                }
            }
        }
        first
    }
}

/// Name and type, for people.
pub(super) fn question(name: &Name, kind: RecordType) -> String {
    format!("{} {kind}", name.to_ascii())
}

async fn ask_one(
    resolver: &TokioResolver,
    name: &Name,
    kind: RecordType,
) -> Result<Answer<RData>, DnsFailure> {
    let lookup = match resolver.lookup(name.clone(), kind).await {
        Ok(lookup) => lookup,
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) if says_no(&none, name) => {
            let ttl = Duration::from_secs(none.negative_ttl.unwrap_or(0).into());
            let name_exists = none.response_code != ResponseCode::NXDomain;
            return Ok(Answer { records: Vec::new(), ttl: ttl.min(LONGEST_NEGATIVE), name_exists });
        }
        Err(error) => return Err(failure(question(name, kind), &error)),
    };
    answer(&lookup, name, kind).ok_or_else(|| DnsFailure::Unusable {
        question: question(name, kind),
        reason: "no such record among the answers".to_owned(),
    })
}

/// The records of type `kind` at `name`, or where its CNAMEs lead. What belongs to other names, or stands in a section
/// where it does not count, is not taken: nobody asked for it. None if nothing is left.
fn answer(lookup: &Lookup, name: &Name, kind: RecordType) -> Option<Answer<RData>> {
    let mut owner = name;
    let mut ttl = u32::MAX;
    let mut records = Vec::new();
    for record in lookup.answers() {
        if record.name != *owner {
            continue;
        }
        match &record.data {
            RData::CNAME(target) if kind != RecordType::CNAME => owner = &target.0,
            data if data.record_type() == kind => records.push(data.clone()),
            _ => continue,
        }
        ttl = ttl.min(record.ttl);
    }
    let ttl = Duration::from_secs(ttl.into()).min(LONGEST_POSITIVE);
    (!records.is_empty()).then_some(Answer { records, ttl, name_exists: true })
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
    // answers are kept by us, so that it is known which question costs something
    options.cache_size = 0;
    // CNAMEs stay in the answer: their TTL counts, and they say which names were asked for
    options.preserve_intermediates = true;
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

/// Whether this really says that there is no such record: NXDOMAIN or NODATA (RFC 2308 2), not a referral, not a
/// response code that the library does not know, and not the end of its patience with CNAMEs, which it reports as NODATA
/// of another name without a SOA.
fn says_no(none: &NoRecords, asked: &Name) -> bool {
    let referral = none.ns.is_some() && none.soa.is_none();
    let patience = none.soa.is_none() && none.query.name() != asked;
    none.response_code == ResponseCode::NXDomain
        || (none.response_code == ResponseCode::NoError && !referral && !patience)
}

fn failure(question: String, error: &NetError) -> DnsFailure {
    match error {
        NetError::Dns(DnsError::ResponseCode(code)) => DnsFailure::Code { question, code: code.to_string() },
        NetError::Timeout => DnsFailure::TimedOut { question },
        other => DnsFailure::Unusable { question, reason: other.to_string() },
    }
}
