//! The servers that are asked, and what their answers say.
//!
//! It keeps nothing: every question goes out. Who may ask how much is said elsewhere.

use std::{net::SocketAddr, num::NonZeroU8, sync::Arc, time::Duration};

use hickory_resolver::{
    NameServerPool, PoolContext, TlsConfig,
    config::{NameServerConfig, ResolverOpts},
    net::{
        DnsError, NetError, NoRecords,
        runtime::TokioRuntimeProvider,
        xfer::{DnsHandle, FirstAnswer, RetryDnsHandle},
    },
    proto::{
        op::{DnsRequestOptions, DnsResponse, Query, ResponseCode},
        rr::{
            Name, RData, Record, RecordType,
            domain::usage::{INVALID, LOCALHOST, ONION},
        },
    },
    system_conf::read_system_conf,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::{Answer, DnsFailure, LONGEST_NEGATIVE, LONGEST_POSITIVE, MAX_ALIASES, MAX_APART, SetupError};

/// The servers.
pub(super) struct Upstream {
    /// Asks all servers, the fastest first.
    together: Servers,
    /// Each server by itself; empty if there is but one.
    alone: Vec<Servers>,
}

/// Asks some of them, again if they do not answer. Below the library's resolver on purpose: that one answers for names
/// of this host by itself, and takes records of other names for the absence of those that were asked for.
type Servers = RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>;

/// What one response says.
enum Reading {
    /// The records, or that there are none.
    Answer(Answer<RData>),
    /// To ask for another name: the end of the CNAMEs that the server knows.
    Alias { target: Name, ttl: Duration },
}

impl Upstream {
    /// As [`super::Dns::new`].
    pub(super) fn new(
        servers: &[SocketAddr],
        timeout: Duration,
        attempts: NonZeroU8,
    ) -> Result<Self, SetupError> {
        let configs = name_servers(servers)?;
        let apart = if configs.len() > 1 { configs.get(..MAX_APART).unwrap_or(&configs) } else { &[] };
        let alone = apart.iter().map(|server| pool(vec![server.clone()], timeout, NonZeroU8::MIN));
        let alone = alone.collect::<Result<_, _>>()?;
        Ok(Self { together: pool(configs, timeout, attempts)?, alone })
    }

    /// Asks for the records of type `kind` at `name`. Names that are not in DNS (RFC 6761 6.3, 6.4, RFC 7686 2) are not
    /// asked for.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Answer<RData>, DnsFailure> {
        if [&*LOCALHOST, &*INVALID, &*ONION].iter().any(|zone| zone.zone_of(name)) {
            return Ok(Answer::none());
        }
        let first = ask_one(&self.together, name, kind).await;
        if matches!(first, Err(DnsFailure::Code { .. })) {
            // The library takes the first SERVFAIL or REFUSED of any server for the last word.
            for server in &self.alone {
                let other = ask_one(server, name, kind).await;
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

/// Asks, and follows CNAMEs that the server does not follow itself, [`MAX_ALIASES`] times.
async fn ask_one(servers: &Servers, name: &Name, kind: RecordType) -> Result<Answer<RData>, DnsFailure> {
    let mut name = name.clone();
    let mut longest = Duration::MAX;
    for _ in 0..=MAX_ALIASES {
        match ask_name(servers, &name, kind).await? {
            Reading::Answer(answer) => return Ok(Answer { ttl: answer.ttl.min(longest), ..answer }),
            Reading::Alias { target, ttl } => {
                longest = longest.min(ttl);
                name = target;
            }
        }
    }
    Err(DnsFailure::Unusable { question: question(&name, kind), reason: TOO_MANY_ALIASES.to_owned() })
}

async fn ask_name(servers: &Servers, name: &Name, kind: RecordType) -> Result<Reading, DnsFailure> {
    let mut options = DnsRequestOptions::default();
    options.use_edns = true;
    options.recursion_desired = true;
    let asked = Query::query(name.clone(), kind);
    let unusable = |reason: &str| {
        Err(DnsFailure::Unusable { question: question(name, kind), reason: reason.to_owned() })
    };
    match servers.lookup(asked.clone(), options).first_answer().await {
        // by UDP the library has looked at this already
        Ok(response) if !response.queries.contains(&asked) => unusable("it answers another question"),
        Ok(response) => read(&response, name, kind).map_or_else(unusable, Ok),
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) if *none.query != asked => {
            unusable("it answers another question")
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) if is_referral(&none) => {
            unusable("it refers to other servers")
        }
        Err(NetError::Dns(DnsError::NoRecordsFound(none))) => {
            Ok(Reading::Answer(absent(none.negative_ttl, LONGEST_NEGATIVE)))
        }
        Err(error) => Err(failure(question(name, kind), &error)),
    }
}

/// What a response with records among its answers says: the records of type `kind` at `name`, or where its CNAMEs lead.
/// What belongs to other names is not taken: nobody asked for it.
///
/// # Errors
/// Why it is of no use, in words.
fn read(response: &DnsResponse, name: &Name, kind: RecordType) -> Result<Reading, &'static str> {
    if !matches!(response.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err("an unknown response code");
    }
    let mut owner = name;
    let mut ttl = LONGEST_POSITIVE;
    // each step looks at all answers, of which there may be thousands; and a circle has no end
    for _ in 0..=MAX_ALIASES {
        let here = || response.answers.iter().filter(|record| record.name == *owner);
        let found: Vec<&Record> = here().filter(|record| record.record_type() == kind).collect();
        if !found.is_empty() {
            let ttl = found.iter().map(|record| seconds(record.ttl)).fold(ttl, Duration::min);
            let records = found.into_iter().map(|record| record.data.clone()).collect();
            return Ok(Reading::Answer(Answer { records, ttl }));
        }
        let alias = here().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((&target.0, seconds(record.ttl))),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else {
            return at_the_end(response, name, owner, ttl);
        };
        ttl = ttl.min(alias_ttl);
        owner = target;
    }
    Err(TOO_MANY_ALIASES)
}

/// What a response says whose CNAMEs lead from `name` to `end`, for which it has nothing more; they hold for `ttl`.
fn at_the_end(
    response: &DnsResponse,
    name: &Name,
    end: &Name,
    ttl: Duration,
) -> Result<Reading, &'static str> {
    let is_last_word = response.response_code == ResponseCode::NXDomain || response.soa().is_some();
    if end == name {
        Err("no such record among the answers")
    } else if is_last_word {
        let negative_ttl = response.negative_ttl();
        Ok(Reading::Answer(absent(negative_ttl, ttl.min(LONGEST_NEGATIVE))))
    } else {
        Ok(Reading::Alias { target: end.clone(), ttl })
    }
}

/// NXDOMAIN or NODATA (RFC 2308 2), which hold for `longest` at most, and not at all without a SOA (RFC 2308 5).
fn absent(negative_ttl: Option<u32>, longest: Duration) -> Answer<RData> {
    let ttl = seconds(negative_ttl.unwrap_or(0)).min(longest);
    Answer { records: Vec::new(), ttl }
}

/// Whether a response without answers only says who else might know.
fn is_referral(none: &NoRecords) -> bool {
    none.response_code == ResponseCode::NoError && none.ns.is_some() && none.soa.is_none()
}

const fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl as u64)
}

fn pool(
    servers: Vec<NameServerConfig>,
    timeout: Duration,
    attempts: NonZeroU8,
) -> Result<Servers, SetupError> {
    let mut options = ResolverOpts::default();
    options.timeout = timeout;
    let context = Arc::new(PoolContext::new(options, TlsConfig { config: no_tls()? }));
    let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
    // the library counts those after the first
    Ok(RetryDnsHandle::new(pool, usize::from(attempts.get() - 1)))
}

fn name_servers(servers: &[SocketAddr]) -> Result<Vec<NameServerConfig>, SetupError> {
    if servers.is_empty() {
        let (config, _) =
            read_system_conf().map_err(|source| SetupError::SystemServers { source: Box::new(source) })?;
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

/// No server is asked over TLS, and the library's default fails where no CA certificates are installed.
fn no_tls() -> Result<ClientConfig, SetupError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Resolver { source: Box::new(error) })?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

fn failure(question: String, error: &NetError) -> DnsFailure {
    match error {
        NetError::Dns(DnsError::ResponseCode(code)) => DnsFailure::Code { question, code: code.to_string() },
        NetError::Timeout => DnsFailure::TimedOut { question },
        other => {
            // the library may repeat what it received
            let reason = other.to_string().escape_debug().take(LONGEST_REASON).collect();
            DnsFailure::Unusable { question, reason }
        }
    }
}

const TOO_MANY_ALIASES: &str = "too many CNAMEs";
/// Characters of an error of the library that are kept.
const LONGEST_REASON: usize = 200;
