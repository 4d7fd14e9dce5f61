//! What DNS has about our own names and addresses: host name, reverse DNS, and the mail servers of
//! the listed domains.
//!
//! The DNS servers themselves are looked at in `resolver`.

use std::{collections::BTreeSet, net::Ipv6Addr};

use sixgate_auth::{
    Resolver,
    dns::DnsFailure,
    ptr::{self, PtrResult},
};
use sixgate_smtp::policy::evidence::OptInStatus;
use tokio::task::JoinSet;

use super::{
    certificate::Offered,
    dane,
    report::{CheckOutcome, CheckReport},
};
use crate::{
    config::{Config, RefuseAt},
    server::ipv4_fallback,
    store::Contents,
};

/// Addresses of this host and domains that are looked up, at most.
pub(super) const LOOKED_UP_MAX: usize = 10;
/// Mail servers of one domain that are.
const SERVERS_MAX: usize = 10;

/// Our names and addresses, with which DNS is compared.
#[derive(Clone)]
pub(super) struct Ours {
    pub(super) hostname: String,
    /// The global addresses of this host.
    pub(super) addresses: BTreeSet<Ipv6Addr>,
    /// Those of them that have opted in.
    pub(super) opted_in: BTreeSet<Ipv6Addr>,
    /// Whether refusals at RCPT TO make senders bounce what IPv4 would deliver.
    pub(super) bounces: bool,
    /// The certificate; none without STARTTLS.
    pub(super) certificate: Option<Offered>,
}

impl Ours {
    pub(super) fn new(
        config: &Config,
        contents: Option<&Contents>,
        addresses: BTreeSet<Ipv6Addr>,
        certificate: Option<Offered>,
    ) -> Self {
        let has_opted_in = |address: &&Ipv6Addr| {
            contents.is_some_and(|contents| contents.destination(**address) == OptInStatus::OptedIn)
        };
        Self {
            hostname: config.hostname.as_str().to_ascii_lowercase(),
            opted_in: addresses.iter().filter(has_opted_in).copied().collect(),
            addresses,
            bounces: config.refuse_at == RefuseAt::Rcpt && !config.temporary_refusals.not_opted_in,
            certificate,
        }
    }

    /// An address to be named in a DNS record.
    fn an_address(&self) -> String {
        let known = self.opted_in.first().or_else(|| self.addresses.first());
        known.map_or_else(|| "ADDRESS".to_owned(), Ipv6Addr::to_string)
    }
}

/// Whether our host name leads to this host.
pub(super) async fn hostname(dns: &Resolver, ours: &Ours) -> CheckReport {
    let id = "dns.hostname";
    let report = match dns.aaaa(&ours.hostname).await {
        Err(failure) => unknown(id, &failure),
        Ok(answer) if answer.records.iter().any(|address| ours.addresses.contains(address)) => {
            CheckReport::ok(id, "it leads to this host")
        }
        Ok(answer) => {
            let found = match answer.records.first() {
                Some(other) => format!("it leads to {other}, which is not of this host"),
                None => "it has no AAAA record".to_owned(),
            };
            CheckReport::warning(id, found, record(&ours.hostname, &ours.an_address()))
        }
    };
    report.about(&ours.hostname)
}

/// Reverse DNS of the addresses that take mail: the mail server behind sends from them, too.
pub(super) async fn reverse(dns: &Resolver, ours: &Ours) -> Vec<CheckReport> {
    let mut looked_up = JoinSet::new();
    for address in ours.opted_in.iter().copied().take(LOOKED_UP_MAX) {
        let dns = dns.clone();
        looked_up.spawn(async move { (address, ptr::check(&dns, address).await.result) });
    }
    let mut found = looked_up.join_all().await;
    found.sort_by_key(|(address, _)| *address);
    let report = |(address, result): (Ipv6Addr, PtrResult)| {
        let id = "dns.ptr";
        let cure = format!("have the provider of {address} set its PTR record to {}", ours.hostname);
        let report = match &result {
            PtrResult::Pass { name } => CheckReport::ok(id, format!("{name}, which leads back")),
            PtrResult::Fail { names } => CheckReport::warning(
                id,
                format!("{} does not lead back", names.first().map_or("its PTR name", String::as_str)),
                cure,
            ),
            PtrResult::NoRecord => CheckReport::warning(id, "no PTR record", cure),
            PtrResult::TempError(_) => CheckReport::not_checked(id, "DNS does not answer"),
        };
        report.about(address)
    };
    found.into_iter().map(report).collect()
}

/// The mail servers of one listed domain.
pub(super) async fn domain(dns: &Resolver, domain: &str, ours: &Ours) -> Vec<CheckReport> {
    let servers = match servers(dns, domain).await {
        Ok(servers) => servers,
        Err(report) => return vec![report.about(domain)],
    };
    let (mut leading_here, mut elsewhere, mut not_opted_in) = (Vec::new(), Vec::new(), None);
    for server in &servers {
        let addresses = match dns.aaaa(server).await {
            Ok(answer) => answer.records,
            Err(failure) => return vec![unknown("domain.mx", &failure).about(domain)],
        };
        let of_host = addresses.iter().find(|address| ours.addresses.contains(*address));
        if addresses.iter().any(|address| ours.opted_in.contains(address)) {
            leading_here.push(server.clone());
        } else if let Some(address) = of_host {
            not_opted_in = Some((server.clone(), *address));
            leading_here.push(server.clone());
        } else {
            elsewhere.extend(addresses.first().map(|address| (server.clone(), *address)));
        }
    }
    let mx = match (&not_opted_in, leading_here.first(), elsewhere.first()) {
        (Some((server, address)), ..) => CheckReport::error(
            "domain.mx",
            format!("{server} leads to {address} of this host, which has not opted in: its mail is refused"),
            format!("sixgate optin add {address}"),
        ),
        (None, Some(server), _) => CheckReport::ok("domain.mx", format!("{server} leads here")),
        (None, None, Some((server, address))) => CheckReport::warning(
            "domain.mx",
            format!("{server} leads to {address}, not to an opted-in address of this host"),
            record(server, &ours.an_address()),
        ),
        (None, None, None) => CheckReport::warning(
            "domain.mx",
            format!(
                "no mail server of it has an AAAA record ({}): no mail comes over IPv6",
                servers.join(", ")
            ),
            record(servers.first().map_or(domain, String::as_str), &ours.an_address()),
        ),
    };
    let mut reports = vec![mx];
    if !leading_here.is_empty() {
        reports.extend(fallback(dns, &leading_here, ours).await);
        reports.extend(tls(dns, domain, &leading_here, ours).await);
    }
    reports.into_iter().map(|report| report.about(domain)).collect()
}

/// The hosts that take a domain's mail (RFC 5321 5.1); at least one.
async fn servers(dns: &Resolver, domain: &str) -> Result<Vec<String>, CheckReport> {
    let found = dns.mx(domain).await.map_err(|failure| unknown("domain.mx", &failure))?.records;
    if found.is_empty() {
        return Ok(vec![domain.to_owned()]);
    }
    let names: BTreeSet<String> =
        found.iter().filter(|name| !name.is_empty()).map(|name| name.to_ascii_lowercase()).collect();
    if names.is_empty() {
        return Err(CheckReport::warning(
            "domain.mx",
            "it has a null MX record (RFC 7505): senders send it no mail",
            format!("sixgate domain remove {domain}"),
        ));
    }
    Ok(names.into_iter().take(SERVERS_MAX).collect())
}

/// Whether a sender that is refused at RCPT TO bounces mail that IPv4 would deliver.
async fn fallback(dns: &Resolver, servers: &[String], ours: &Ours) -> Option<CheckReport> {
    if !ours.bounces {
        return None;
    }
    for server in servers {
        let Ok(answer) = dns.a(server).await else { continue };
        if let Some(address) = answer.records.first() {
            let (found, cure) = ipv4_fallback(server, *address);
            return Some(CheckReport::warning("domain.ipv4", found, cure));
        }
    }
    None
}

/// Whether senders may insist on TLS, and whether they get it.
async fn tls(dns: &Resolver, domain: &str, servers: &[String], ours: &Ours) -> Vec<CheckReport> {
    let id = "domain.tls";
    let sts = match dns.txt(&format!("_mta-sts.{domain}")).await {
        Ok(answer) => answer.records.iter().any(|record| record.starts_with(b"v=STSv1")),
        Err(failure) => return vec![unknown(id, &failure)],
    };
    let (mut tlsa, mut reports) = (Vec::new(), Vec::new());
    for server in servers {
        match dns.tlsa(&format!("_25._tcp.{server}")).await {
            Ok(answer) if answer.records.is_empty() => {}
            Ok(answer) => tlsa.push((server, answer.records)),
            Err(failure) => reports.push(dane::not_known(server, &failure)),
        }
    }
    let demand = match (sts, tlsa.first()) {
        (false, None) => {
            reports.insert(0, CheckReport::ok(id, "neither MTA-STS nor TLSA: no sender insists on TLS"));
            return reports;
        }
        (true, None) => "it has MTA-STS".to_owned(),
        (false, Some((server, _))) => format!("{server} has TLSA records"),
        (true, Some((server, _))) => format!("it has MTA-STS, and {server} has TLSA records"),
    };
    let Some(certificate) = &ours.certificate else {
        let found =
            format!("{demand}, and sixgate offers no STARTTLS: senders that insist on TLS do not deliver");
        return vec![CheckReport::error(id, found, "set certificate and key in [tls], then: sixgate reload")];
    };
    let offered = match servers.iter().find(|server| sts && !certificate.names.covers(server)) {
        Some(server) => CheckReport::warning(
            id,
            format!("{demand}, and the certificate does not have the name {server}"),
            format!("have a certificate issued for {server}"),
        ),
        None => CheckReport::ok(id, format!("{demand}, and STARTTLS is offered")),
    };
    reports.insert(0, offered);
    reports.extend(tlsa.iter().map(|(server, records)| dane::check(server, records, certificate)));
    reports
}

fn record(name: &str, address: &str) -> String {
    format!("publish in DNS: {name}. AAAA {address}")
}

fn unknown(id: &'static str, failure: &DnsFailure) -> CheckReport {
    CheckReport::sentence(id, CheckOutcome::NotChecked, failure.to_string())
}
