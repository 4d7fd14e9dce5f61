//! One DNS server looked at for an administrator: whether it answers by UDP and by TCP, and whether
//! it validates with DNSSEC.
//!
//! It keeps nothing, and no check of a message depends on it.

use std::{num::NonZeroU8, time::Duration};

use hickory_proto::{
    op::Query,
    rr::{Name, RecordType},
};
use sixgate_base::endpoint::Endpoint;
use tokio::time::timeout;

use super::{
    Resolver,
    exchange::{DnsResponse, Fault, QuestionForm, by_tcp, by_udp},
    result::DnsFailure,
};

/// How one server answers.
#[derive(Clone, Debug)]
pub struct ServerReport {
    /// Whether it answers as the checks need it.
    pub answer: Result<(), DnsFailure>,
    /// Why it gives no answer by TCP, which large records need; none: it does.
    pub tcp_failure: Option<String>,
    /// Whether it marks the signed root zone as validated (RFC 6840 5.7, 5.8).
    pub validates: bool,
}

/// Asks `server`, and no other one, within `wait` for each question. `hostname` is asked for where
/// the server does not answer about the root.
pub async fn inspect_server(server: &Endpoint, hostname: &str, wait: Duration) -> ServerReport {
    let resolver = Resolver::new(std::slice::from_ref(server), wait, NonZeroU8::MIN);
    let (answer, by_tcp, by_udp) = tokio::join!(
        resolver.probe(hostname),
        timeout(wait, stream(server)),
        timeout(wait, datagram(server))
    );
    let tcp_failure = match by_tcp {
        Ok(Ok(_)) => None,
        Ok(Err(fault)) => Some(fault.to_string()),
        Err(_) => Some("no answer in time".to_owned()),
    };
    let is_validated = |response: DnsResponse| response.message.metadata.authentic_data;
    let validates = by_udp.is_ok_and(|answered| answered.is_ok_and(is_validated));
    ServerReport { answer, tcp_failure, validates }
}

async fn stream(server: &Endpoint) -> Result<DnsResponse, Fault> {
    by_tcp(server.resolve()?, &root(), FORM).await
}

async fn datagram(server: &Endpoint) -> Result<DnsResponse, Fault> {
    by_udp(server.resolve()?, &root(), FORM).await
}

/// Who serves the root: each resolver knows it, and it is signed.
fn root() -> Query {
    Query::query(Name::root(), RecordType::NS)
}

const FORM: QuestionForm = QuestionForm { edns: true, random_case: false, asks_validation: true };
