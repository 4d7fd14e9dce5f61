//! The checks of `sixgate doctor`: all that mail depends on, looked at without changing it.
//!
//! It owns which checks there are, in which order they are reported, and how long they may take.
//! The reasons for a failure are those of the part that fails. The text of the output is `cli`'s.

mod certificate;
mod dane;
mod host;
mod interfaces;
mod names;
mod next_hop;
mod ports;
mod report;
mod resolver;
mod service;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU8,
    time::Duration,
};

use sixgate_auth::Resolver;
use sixgate_dataplane::global_addresses;
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Instant, timeout_at},
};

use crate::{
    config::{Config, ConfigError, Domains},
    control::Control,
    store::{Contents, Domain},
};

pub(crate) use host::default_interface;
pub use report::{CheckOutcome, CheckReport};

/// How long all checks may take together. They run side by side.
pub const TIME_LIMIT: Duration = Duration::from_secs(18);
/// How long store and daemon may take, before the checks that need them begin.
const FACTS_LIMIT: Duration = Duration::from_secs(6);
/// How long a DNS question about our own names may take, each time.
const DNS_WAIT: Duration = Duration::from_secs(2);

/// Makes all checks, within [`TIME_LIMIT`]. A configuration with an error leaves those of the host.
/// A check that blocks for longer goes on meanwhile, so that the caller may not wait for the
/// runtime's end.
pub async fn examine(config: Result<Config, ConfigError>) -> Vec<CheckReport> {
    let deadline = Instant::now() + TIME_LIMIT;
    match config {
        Ok(config) => with_configuration(config, deadline).await,
        Err(error) => {
            let mut reports = of_host(false, deadline).await;
            let (found, cure) = match error {
                ConfigError::Missing { path } => (
                    format!("there is no configuration {}", path.display()),
                    "sixgate init --next-hop smtp://[::1]:10025",
                ),
                error => {
                    (format!("{:#}", anyhow::Error::new(error)), "correct it, then: sixgate config check")
                }
            };
            reports.push(CheckReport::error("config.file", found, cure));
            reports
        }
    }
}

/// The host alone. `needs_program`: whether the configuration names interfaces.
async fn of_host(needs_program: bool, deadline: Instant) -> Vec<CheckReport> {
    let (clock, program) = tokio::join!(
        host::clock(),
        by("kernel.program", deadline, move || vec![host::program(needs_program)])
    );
    let mut reports = vec![host::rights(), clock, host::kernel()];
    reports.extend(program);
    reports.extend(host::settings());
    reports.push(host::route());
    reports
}

async fn with_configuration(config: Config, deadline: Instant) -> Vec<CheckReport> {
    let of_host = tokio::spawn(of_host(!config.xdp.interfaces.is_empty(), deadline));
    let soon = Instant::now() + FACTS_LIMIT;
    let (for_store, for_daemon) = (config.clone(), config.clone());
    let (store, daemon) = tokio::join!(
        blocking(soon, move || service::store(&for_store)),
        blocking(soon, move || service::daemon(&for_daemon)),
    );
    let (store, contents) = store.unwrap_or_else(|| (CheckReport::not_checked("store.file", TOO_LONG), None));
    let (daemon, status) =
        daemon.unwrap_or_else(|| (vec![CheckReport::not_checked("daemon.running", TOO_LONG)], None));
    let own: BTreeSet<Ipv6Addr> =
        global_addresses().unwrap_or_default().into_iter().map(|(address, _)| address).collect();

    let ports = {
        let (addresses, pid) = (config.listen.addresses.clone(), status.as_ref().map(|status| status.pid));
        by("listen.port", deadline, move || ports::check(&addresses, pid))
    };
    let interfaces = {
        let (config, control) = (config.clone(), Control::new(&config));
        by("xdp.interface", deadline, move || interfaces::check(&config, &control))
    };
    let (certificate, offered) = certificate::check(&config);
    let ours = names::Ours::new(&config, contents.as_ref(), own.clone(), offered);
    let (ports, interfaces, next_hop, dns) = tokio::join!(
        ports,
        interfaces,
        until("next_hop.server", deadline, next_hop::check(&config)),
        of_dns(&config, contents.as_ref(), ours, deadline),
    );

    let mut reports = of_host.await.unwrap_or_default();
    reports.extend(service::configuration(&config, contents.as_ref()));
    reports.push(store);
    if let Some(contents) = &contents {
        reports.push(service::addresses(contents, &own, host::forwards()));
    }
    reports.extend(daemon);
    for more in [ports, interfaces, next_hop, dns] {
        reports.extend(more);
    }
    reports.push(certificate);
    reports
}

/// The DNS servers, and what they have about our names.
async fn of_dns(
    config: &Config,
    contents: Option<&Contents>,
    ours: names::Ours,
    deadline: Instant,
) -> Vec<CheckReport> {
    let wait = config.dns.timeout.min(DNS_WAIT);
    let dns = Resolver::within(config.dns_bounds(), &config.dns.servers, wait, ATTEMPTS);
    let servers = dns.servers();
    let own: BTreeSet<IpAddr> = ours.addresses.iter().copied().map(IpAddr::V6).collect();
    let (servers, hostname, reverse, domains) = tokio::join!(
        until("dns.server", deadline, resolver::check(&servers, &ours.hostname, &own)),
        until("dns.hostname", deadline, async { vec![names::hostname(&dns, &ours).await] }),
        until("dns.ptr", deadline, names::reverse(&dns, &ours)),
        of_domains(&dns, config, contents, &ours, deadline),
    );
    [servers, hostname, reverse, domains].concat()
}

/// The first listed domains, side by side.
async fn of_domains(
    dns: &Resolver,
    config: &Config,
    contents: Option<&Contents>,
    ours: &names::Ours,
    deadline: Instant,
) -> Vec<CheckReport> {
    let Some(contents) = contents.filter(|_| config.domains == Domains::Listed) else { return Vec::new() };
    let listed: Vec<&Domain> =
        contents.domains.iter().filter(|(_, marks)| marks.opted_in).map(|(domain, _)| domain).collect();
    let mut looked_up = JoinSet::new();
    for (at, domain) in listed.iter().take(names::LOOKED_UP_MAX).enumerate() {
        let (dns, domain, ours) = (dns.clone(), domain.as_str().to_owned(), ours.clone());
        looked_up.spawn(async move {
            (at, until("domain.mx", deadline, names::domain(&dns, &domain, &ours)).await)
        });
    }
    let mut found = looked_up.join_all().await;
    found.sort_by_key(|(at, _)| *at);
    let mut reports: Vec<CheckReport> = found.into_iter().flat_map(|(_, reports)| reports).collect();
    let rest = listed.len().saturating_sub(names::LOOKED_UP_MAX);
    if rest > 0 {
        let reason = format!("{rest} more domains are listed; {} are looked up", names::LOOKED_UP_MAX);
        reports.push(CheckReport::not_checked("domain.mx", reason));
    }
    reports
}

/// What `check` finds before `deadline`.
async fn until(
    id: &'static str,
    deadline: Instant,
    check: impl Future<Output = Vec<CheckReport>>,
) -> Vec<CheckReport> {
    timeout_at(deadline, check).await.unwrap_or_else(|_| vec![CheckReport::not_checked(id, TOO_LONG)])
}

/// The same of a check that blocks.
async fn by(
    id: &'static str,
    deadline: Instant,
    check: impl FnOnce() -> Vec<CheckReport> + Send + 'static,
) -> Vec<CheckReport> {
    blocking(deadline, check).await.unwrap_or_else(|| vec![CheckReport::not_checked(id, TOO_LONG)])
}

/// The value of `task`, on a thread that may block; none if it takes longer.
async fn blocking<T: Send + 'static>(
    deadline: Instant,
    task: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    timeout_at(deadline, spawn_blocking(task)).await.ok()?.ok()
}

const TOO_LONG: &str = "it took too long";
const ATTEMPTS: NonZeroU8 = const { NonZeroU8::new(2).unwrap() };
