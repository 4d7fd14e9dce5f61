//! Warnings at the start about what would hurt: settings and a store that refuse more mail than
//! they are meant to.
//!
//! It changes nothing, and nothing waits for it. A problem that keeps the daemon from starting is
//! an error elsewhere.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use sixgate_auth::dns::Resolver;
use sixgate_dataplane::Pins;
use sixgate_smtp::policy::{Mode, evidence::OptInStatus};

use crate::{
    config::{Config, Domains, Limits, NextHop, RefuseAt},
    control::{no_destination, no_domain},
    metrics,
    nexthop::{Address, Protocol},
    server::{control_socket, http},
    store::{Contents, Domain, Store},
    store_view::StoreView,
};

/// Listed domains whose mail servers are looked up at the start.
const DOMAINS_MAX: usize = 10;
/// Mail servers of one domain that are.
const SERVERS_MAX: usize = 10;

/// Octets of a message that a mail server has to take (RFC 5321 4.5.3.1.7).
const MESSAGE_SIZE_LEAST: u32 = 64 << 10;
/// Recipients of a message that it has to take (RFC 5321 4.5.3.1.8).
const RECIPIENTS_LEAST: u32 = 100;
/// A pace that slow lines do not keep, octets in a second.
const DATA_RATE_MOST: u32 = 10_000;
/// Waits below which senders are cut off that do nothing wrong (RFC 5321 4.5.3.2 has minutes for
/// each step).
const COMMAND_TIMEOUT_LEAST: Duration = Duration::from_secs(10);
const DATA_TIMEOUT_LEAST: Duration = Duration::from_secs(10);
const SESSION_TIMEOUT_LEAST: Duration = Duration::from_secs(60);
/// A session that lasts longer is hardly one of a mail server.
const SESSION_TIMEOUT_MOST: Duration = Duration::from_secs(6 * 60 * 60);

/// SPF limits a check to ten terms that ask (RFC 7208 4.6.4), and each may need several questions.
const DNS_QUESTIONS_LEAST: u32 = 100;
/// Senders wait some minutes for a reply (RFC 5321 4.5.3.2).
const DNS_TIMEOUT_MOST: Duration = Duration::from_secs(60);
/// Mail passes half a dozen servers on its way; RFC 5321 6.3 would have 100.
const RECEIVED_LEAST: u32 = 20;
/// Top-level domains of examples and tests (RFC 2606).
const RESERVED: [&str; 4] = ["example", "invalid", "test", "localhost"];

/// What shadow mode refuses all the same, in one line.
pub(crate) const NOT_SHADOWED: &str = "mode is shadow: messages are passed on, and what enforce would have refused is \
     logged; still refused, and counted as not_shadowed: bare line ends and NUL, commands and addresses that cannot \
     be read, parameters of extensions that are not offered (except those of DSN), MAIL without EHLO or HELO, EHLO \
     and HELO without a name, sizes and resources over their bounds";

/// What `config`, what stands around it and the store that it names would hurt with.
#[must_use]
pub fn warnings(config: &Config) -> Vec<String> {
    let store = Store::new(&config.store);
    let mut warnings = of_files(config);
    warnings.extend(of_hostname(config));
    if store.will_take_over() {
        warnings.extend(store.check_earlier().err().map(|error| format!("{:#}", anyhow::Error::new(error))));
        warnings.extend(of_settings(config));
        return warnings;
    }
    let read = store.open().and_then(|mut database| {
        let unwritable = database
            .unwritable()
            .map(|reason| format!("the opt-in store {} cannot be changed: {reason}", store.path().display()));
        Ok((database.contents()?.0, unwritable))
    });
    match read {
        Ok((contents, unwritable)) => {
            warnings.extend(unwritable);
            warnings.extend(of(config, &contents));
        }
        Err(error) => {
            warnings.push(format!("{:#}", anyhow::Error::new(error)));
            warnings.extend(of_settings(config));
        }
    }
    warnings
}

/// Files that sixgate would have to replace, and does not. The daemon tells of them when it writes.
pub(crate) fn of_files(config: &Config) -> Vec<String> {
    let pins =
        Pins::new(&config.xdp.bpffs).check_file_system().err().filter(|_| !config.xdp.interfaces.is_empty());
    let next_hop = match &config.next_hop {
        NextHop::Server { address: Address::Unix(path), .. } if !path.as_path().exists() => Some(format!(
            "next_hop: there is no socket {}: is the mail server running?",
            path.as_path().display()
        )),
        NextHop::Server { .. } | NextHop::Maildir(_) => None,
    };
    let pins = pins.map(|error| format!("xdp.bpffs: {error}"));
    of_written_files(config).into_iter().chain(pins).chain(next_hop).collect()
}

/// Those of the files that sixgate writes itself.
fn of_written_files(config: &Config) -> Vec<String> {
    let metrics = config.metrics.file.as_ref().and_then(|path| {
        let folder = path.parent().filter(|folder| !folder.is_dir());
        let missing = folder.map(|folder| format!("{} is not a directory that is there", folder.display()));
        let error = missing.or_else(|| metrics::check_file(path).err().map(|error| error.to_string()))?;
        Some(format!("metrics.file: cannot write {}: {error}", path.display()))
    });
    let http = config.http.listen.as_ref().and_then(http::problem);
    control_socket::problem(&config.control_socket()).into_iter().chain(http).chain(metrics).collect()
}

/// What settings, and the store's `contents` if they are known, would hurt with; without what
/// stands around the configuration and is looked at by itself.
pub(crate) fn warnings_of(config: &Config, contents: Option<&Contents>) -> Vec<String> {
    let mut warnings = of_written_files(config);
    warnings.extend(of_hostname(config));
    warnings.extend(match contents {
        Some(contents) => of(config, contents),
        None => of_settings(config),
    });
    warnings
}

/// Addresses to which no connection can be made.
fn of_addresses(config: &Config) -> Vec<String> {
    let next_hop = match &config.next_hop {
        NextHop::Server { address: Address::Tcp(endpoint), .. } => Some(("next_hop", endpoint)),
        NextHop::Server { .. } | NextHop::Maildir(_) => None,
    };
    let servers = config.dns.servers.iter().map(|endpoint| ("dns.servers", endpoint));
    let is_of_no_host = |ip: IpAddr| ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    let odd = next_hop.into_iter().chain(servers).filter(|(_, endpoint)| is_of_no_host(endpoint.ip()));
    odd.map(|(key, endpoint)| {
        format!("{key}: {endpoint} is a multicast or broadcast address: no server answers there")
    })
    .collect()
}

/// Warnings about the settings alone.
fn of_settings(config: &Config) -> Vec<String> {
    let Limits { message_size, recipients, data_rate, .. } = config.limits;
    let mut warnings: Vec<String> = config.renamed_keys.iter().map(ToString::to_string).collect();
    warnings.extend(of_addresses(config));
    if let NextHop::Server { protocol: Protocol::Lmtp, .. } = &config.next_hop {
        warnings.push(
            "next_hop.lmtp takes one recipient of a message at a time: a sender retries with the others, so that of 20 \
             recipients the last one may wait for 18 hours; set next_hop.smtp to a mail server before it, if there is one"
                .to_owned(),
        );
    }
    if config.temporary_refusals.not_opted_in && config.refuse_at != RefuseAt::Rcpt {
        warnings.push(format!(
            "temporary_refusals = [\"not_opted_in\"] is about the reply to RCPT TO: with refuse_at = \"{}\" {}; set \
             refuse_at = \"rcpt\", then: sixgate reload",
            config.refuse_at.name(),
            refused_without_rcpt(config.refuse_at)
        ));
    }
    if message_size.get() < MESSAGE_SIZE_LEAST {
        warnings.push(format!(
            "limits.message_size is {message_size} octets: sixgate refuses each message that is longer; a mail server has to \
             take {MESSAGE_SIZE_LEAST} octets (RFC 5321 4.5.3.1.7), the default is 52428800"
        ));
    }
    if recipients.get() < RECIPIENTS_LEAST {
        warnings.push(format!(
            "limits.recipients is {recipients}: a mail server has to take {RECIPIENTS_LEAST} recipients of a message \
             (RFC 5321 4.5.3.1.8); senders have to try again with the rest"
        ));
    }
    if data_rate > DATA_RATE_MOST {
        warnings.push(format!(
            "limits.data_rate is {data_rate} octets in a second: sixgate cuts off each sender that is slower; \
             the default is 500"
        ));
    }
    for (key, wait, least) in [
        ("command_timeout", config.limits.command_timeout, COMMAND_TIMEOUT_LEAST),
        ("data_timeout", config.limits.data_timeout, DATA_TIMEOUT_LEAST),
        ("transaction_timeout", config.limits.transaction_timeout, SESSION_TIMEOUT_LEAST),
        ("session_timeout", config.limits.session_timeout, SESSION_TIMEOUT_LEAST),
    ] {
        if wait < least {
            warnings.push(format!(
                "limits.{key} is {}: sixgate cuts off senders that are only slow; set it to {} at least",
                humantime(wait),
                humantime(least)
            ));
        }
    }
    warnings.extend(of_checks(config));
    let Limits { command_timeout, data_timeout, session_timeout, .. } = config.limits;
    for (key, wait) in [("command_timeout", command_timeout), ("data_timeout", data_timeout)] {
        if session_timeout < wait {
            warnings.push(format!(
                "limits.session_timeout is {}, less than limits.{key}, {}: a session ends before its wait; set \
                 session_timeout to more",
                humantime(session_timeout),
                humantime(wait)
            ));
        }
    }
    if session_timeout > SESSION_TIMEOUT_MOST {
        warnings.push(format!(
            "limits.session_timeout is {}: a client that does nothing useful keeps its connection so long; the default is \
             3600s",
            humantime(session_timeout)
        ));
    }
    warnings
}

/// What settings of checks would hurt with.
fn of_checks(config: &Config) -> Vec<String> {
    let Limits { dns_questions_per_minute, received, .. } = config.limits;
    let mut warnings = Vec::new();
    if config.dns.timeout > DNS_TIMEOUT_MOST {
        warnings.push(format!(
            "dns.timeout is {}: while a DNS server does not answer, senders give up before sixgate does; set it to {} at most",
            humantime(config.dns.timeout),
            humantime(DNS_TIMEOUT_MOST)
        ));
    }
    if dns_questions_per_minute.get() < DNS_QUESTIONS_LEAST {
        warnings.push(format!(
            "limits.dns_questions_per_minute is {dns_questions_per_minute}: SPF of one message may ask that often and more, so \
             that sixgate defers it with 451 4.4.3; set it to {DNS_QUESTIONS_LEAST} at least"
        ));
    }
    if received.get() < RECEIVED_LEAST {
        warnings.push(format!(
            "limits.received is {received}: sixgate refuses each message that has passed more mail servers as a mail loop; set \
             it to {RECEIVED_LEAST} at least"
        ));
    }
    warnings
}

/// A name that stands in examples only.
pub(crate) fn of_hostname(config: &Config) -> Option<String> {
    let hostname = config.hostname.as_str();
    let last = hostname.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_example = RESERVED.contains(&last.as_str()) || hostname.eq_ignore_ascii_case("example.com");
    is_example.then(|| {
        format!(
            "hostname is {hostname}, a name for examples (RFC 2606): sixgate greets by it, and writes it into Received and \
             Authentication-Results; set it to this host's name in DNS"
        )
    })
}

/// A duration as the file has it, in whole seconds where it is that long.
fn humantime(wait: Duration) -> String {
    if wait < Duration::from_secs(1) {
        format!("{}ms", wait.as_millis())
    } else {
        format!("{}s", wait.as_secs())
    }
}

/// How a destination that has not opted in is refused before RCPT TO, and what that makes senders
/// do.
const fn refused_without_rcpt(refuse_at: RefuseAt) -> &'static str {
    match refuse_at {
        RefuseAt::Rcpt => "it is refused there",
        RefuseAt::Greeting => {
            "a destination that has not opted in is refused by the greeting 554: some senders defer then, some bounce"
        }
        RefuseAt::Reset => "a connection to a destination that has not opted in is reset without a reply",
    }
}

/// What `config` would hurt with while the store holds `contents`.
pub(crate) fn of(config: &Config, contents: &Contents) -> Vec<String> {
    let policy = config.policy();
    let is_shadow = policy.mode == Mode::Shadow;
    let passes_all_on = is_shadow && policy.next_hop_judges;
    let mut warnings = of_settings(config);
    warnings.extend(contents.doubts());
    let marks_temporary = contents.domains.values().any(|marks| marks.temporary);
    if marks_temporary && !config.temporary_refusals.not_opted_in && config.refuse_at != RefuseAt::Rcpt {
        warnings.push(format!(
            "domains are marked temporary, which is about the reply to RCPT TO: with refuse_at = \"{}\" {}; set \
             refuse_at = \"rcpt\", then: sixgate reload",
            config.refuse_at.name(),
            refused_without_rcpt(config.refuse_at)
        ));
    }
    if config.domains == Domains::Listed && !contents.opts_any_domain_in() {
        warnings.push(no_domain(passes_all_on));
    }
    if !contents.opts_anything_in() {
        warnings.push(no_destination(is_shadow));
    }
    if is_shadow && !passes_all_on {
        warnings.push(
            "mode is shadow, but recipients in domains that are not listed, and local parts such as user%other, are \
             refused: the next hop does not learn who the client is and would relay for sixgate; set client = \
             \"xclient\" or \"proxy\" in [next_hop], then: sixgate reload"
                .to_owned(),
        );
    }
    warnings
}

/// A host of the gate that has an IPv4 address although a refusal at RCPT TO makes senders bounce.
pub(crate) async fn of_ipv4(dns: &Resolver, config: &Config, store: &StoreView) -> Vec<String> {
    if config.refuse_at != RefuseAt::Rcpt || config.temporary_refusals.not_opted_in {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    for host in hosts(dns, config, store).await {
        let Ok(answer) = dns.a(&host).await else { continue };
        if let Some(address) = answer.records.first() {
            let (found, cure) = ipv4_fallback(&host, *address);
            warnings.push(format!("{found}; {cure}"));
        }
    }
    warnings
}

/// That `host` of the gate has the IPv4 address `address`, too, and what to set.
pub(crate) fn ipv4_fallback(host: &str, address: Ipv4Addr) -> (String, &'static str) {
    let found = format!(
        "{host} has the IPv4 address {address}, too, and the 550 at RCPT TO makes senders bounce mail that IPv4 would deliver"
    );
    (found, "set temporary_refusals = [\"not_opted_in\"], so that senders use IPv4, then: sixgate reload")
}

/// Our name, and the mail servers of listed domains that are at an address which the store knows as
/// ours.
async fn hosts(dns: &Resolver, config: &Config, store: &StoreView) -> BTreeSet<String> {
    let mut hosts = BTreeSet::from([config.hostname.as_str().to_ascii_lowercase()]);
    let listed = |contents: &Contents| -> Vec<Domain> {
        let domains = contents.domains.iter().filter(|(_, marks)| marks.opted_in);
        domains.take(DOMAINS_MAX).map(|(domain, _)| domain.clone()).collect()
    };
    for domain in store.look(listed) {
        let Ok(servers) = dns.mx(domain.as_str()).await else { continue };
        for server in servers.records.into_iter().take(SERVERS_MAX).filter(|server| !server.is_empty()) {
            let server = server.to_ascii_lowercase();
            if hosts.contains(&server) {
                continue;
            }
            let Ok(addresses) = dns.aaaa(&server).await else { continue };
            let is_ours = |contents: &Contents| {
                addresses.records.into_iter().any(|address| {
                    contents.destination(address) == OptInStatus::OptedIn
                        || contents.guard.longest_match(address).is_some()
                })
            };
            if store.look(is_ours) {
                hosts.insert(server);
            }
        }
    }
    hosts
}

#[cfg(test)]
mod tests;
