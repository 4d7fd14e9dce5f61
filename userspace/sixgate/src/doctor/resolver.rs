//! The DNS servers, each by itself: whether they answer, where they are, and whether they validate.
//!
//! What DNS has about our own names is looked up in `names`.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use sixgate_auth::dns::{ServerReport, inspect_server};
use sixgate_base::endpoint::Endpoint;
use tokio::task::JoinSet;

use super::report::{CheckOutcome, CheckReport};

/// How long one question may take here: senders wait longer, a person does not.
const WAIT: Duration = Duration::from_secs(3);
/// Servers that are asked.
const SERVERS_MAX: usize = 8;

/// Asks each of `servers`; `hostname` is ours, `own` are addresses of this host.
pub(super) async fn check(servers: &[Endpoint], hostname: &str, own: &BTreeSet<IpAddr>) -> Vec<CheckReport> {
    if servers.is_empty() {
        return vec![CheckReport::error(
            "dns.server",
            "no DNS server is known",
            "set servers in [dns], then: systemctl restart sixgate",
        )];
    }
    let mut asked = JoinSet::new();
    for (at, server) in servers.iter().cloned().enumerate().take(SERVERS_MAX) {
        let hostname = hostname.to_owned();
        asked.spawn(async move { (at, inspect_server(&server, &hostname, WAIT).await) });
    }
    let mut found = asked.join_all().await;
    found.sort_by_key(|(at, _)| *at);
    let answers = found.iter().any(|(_, report)| report.answer.is_ok());
    let mut reports = Vec::new();
    for (server, (_, found)) in servers.iter().zip(&found) {
        reports.push(answer(found, answers).about(server));
    }
    reports.push(validation(servers, &found));
    reports.push(place(servers, own));
    reports
}

fn answer(report: &ServerReport, another_answers: bool) -> CheckReport {
    let id = "dns.server";
    match (&report.answer, &report.tcp_failure) {
        (Ok(()), None) => CheckReport::ok(id, "it answers by UDP and TCP"),
        (Ok(()), Some(failure)) => CheckReport::warning(
            id,
            format!("it answers by UDP, but not by TCP ({failure}): large DKIM keys and SPF records fail"),
            "let TCP port 53 through to it, or use another server in [dns], then: systemctl restart sixgate",
        ),
        (Err(failure), _) => {
            let outcome = if another_answers { CheckOutcome::Warning } else { CheckOutcome::Error };
            CheckReport::sentence(id, outcome, failure.to_string())
                .cured_by("name a server that answers in /etc/resolv.conf, or in servers of [dns], then: systemctl restart sixgate")
        }
    }
}

/// Whether all servers that answer validate: forged records are found out then.
fn validation(servers: &[Endpoint], found: &[(usize, ServerReport)]) -> CheckReport {
    let id = "dns.validation";
    let mut answering = found.iter().filter(|(_, report)| report.answer.is_ok()).peekable();
    if answering.peek().is_none() {
        return CheckReport::not_checked(id, "no DNS server answers");
    }
    match answering.find(|(_, report)| !report.validates) {
        None => CheckReport::ok(id, "the servers validate with DNSSEC"),
        Some((at, _)) => {
            let server = servers.get(*at).map(Endpoint::to_string).unwrap_or_default();
            CheckReport::warning(
                id,
                format!("{server} does not validate with DNSSEC: forged PTR, SPF and DKIM records pass"),
                OWN_RESOLVER,
            )
        }
    }
}

/// Whether the way to the servers leads through networks: latency, and forged answers.
fn place(servers: &[Endpoint], own: &BTreeSet<IpAddr>) -> CheckReport {
    let id = "dns.server_host";
    let is_here = |server: &&Endpoint| server.ip().is_loopback() || own.contains(&server.ip());
    match servers.iter().find(|server| !is_here(server)) {
        None => CheckReport::ok(id, "the servers are on this host"),
        Some(server) => CheckReport::warning(
            id,
            format!(
                "{server} is on another host: each check waits for the network, and answers can be forged on the way"
            ),
            OWN_RESOLVER,
        ),
    }
}

const OWN_RESOLVER: &str =
    "apt install unbound, set servers = [\"[::1]:53\"] in [dns], then: systemctl restart sixgate";
