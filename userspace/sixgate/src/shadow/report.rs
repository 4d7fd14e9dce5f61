//! The report about what enforce would have refused: which senders, networks, domains and messages,
//! why, and what would change that.
//!
//! It reads rows that are given to it; its text is `cli`'s.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv6Addr,
};

use ipnet::Ipv6Net;
use serde::Serialize;

use super::Waived;

/// How much of the report is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReportOptions {
    /// Rows of each list.
    pub(crate) top: usize,
}

/// The report, as `--json` prints it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// All refusals: recipients and messages.
    pub(crate) refusals: usize,
    /// The first senders that make [`MOST`] percent of them, if they are few.
    pub(crate) most: Option<Most>,
    pub(crate) reasons: Vec<Counted>,
    pub(crate) senders: Vec<Sender>,
    pub(crate) sender_domains: Vec<Counted>,
    pub(crate) networks: Vec<Counted>,
    pub(crate) recipient_domains: Vec<Counted>,
    /// The last ones.
    pub(crate) messages: Vec<Message>,
}

#[derive(Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Most {
    pub(crate) senders: usize,
    pub(crate) percent: usize,
}

#[derive(Debug, Eq, PartialEq, Serialize)]
pub(crate) struct Counted {
    pub(crate) name: String,
    pub(crate) refusals: usize,
}

/// A sender: a domain and the /64 that it sends from.
#[derive(Debug, Serialize)]
pub(crate) struct Sender {
    /// Empty for bounces, which have no sender.
    pub(crate) domain: String,
    pub(crate) network: String,
    /// The name of its last address that DNS confirms, or empty.
    pub(crate) client_name: String,
    pub(crate) refusals: usize,
    pub(crate) percent: usize,
    pub(crate) reasons: BTreeMap<String, usize>,
    /// What would have its mail accepted.
    pub(crate) remedies: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Message {
    /// In RFC 3339, UTC.
    pub(crate) time: String,
    pub(crate) session: String,
    pub(crate) source: String,
    pub(crate) mail_from: String,
    pub(crate) recipient: String,
    pub(crate) message_id: String,
    pub(crate) reason: String,
    pub(crate) reply: String,
}

impl Report {
    /// The report about `rows`, the oldest first.
    pub(crate) fn of(rows: &[Waived], ReportOptions { top }: ReportOptions) -> Self {
        let mut by_sender: HashMap<(String, String), Vec<&Waived>> = HashMap::new();
        for row in rows {
            by_sender.entry((domain(&row.mail_from), network(&row.source))).or_default().push(row);
        }
        let mut senders: Vec<Sender> =
            by_sender.into_iter().map(|(key, own)| sender(key, &own, rows.len())).collect();
        senders.sort_by(|one, other| {
            let key = |sender: &Sender| (sender.domain.clone(), sender.network.clone());
            other.refusals.cmp(&one.refusals).then_with(|| key(one).cmp(&key(other)))
        });
        let most = most(&senders, rows.len());
        senders.truncate(top);
        let count = |name: fn(&Waived) -> String| counted(rows.iter().map(name), top);
        Self {
            refusals: rows.len(),
            most,
            reasons: counted(rows.iter().map(|row| row.reason.clone()), usize::MAX),
            senders,
            sender_domains: count(|row| domain(&row.mail_from)),
            networks: count(|row| network(&row.source)),
            recipient_domains: count(|row| domain(&row.recipient)),
            messages: rows.iter().rev().take(top).map(message).collect(),
        }
    }
}

/// Percent of all refusals that are most of them.
const MOST: usize = 90;
/// Senders that are few.
const FEW: usize = 5;

fn most(senders: &[Sender], all: usize) -> Option<Most> {
    let mut refusals = 0;
    for (at, sender) in senders.iter().enumerate().take(FEW) {
        refusals += sender.refusals;
        if refusals * 100 >= all * MOST {
            return Some(Most { senders: at + 1, percent: percent(refusals, all) });
        }
    }
    None
}

fn percent(part: usize, all: usize) -> usize {
    (part * 100).checked_div(all).unwrap_or_default()
}

fn sender((domain, network): (String, String), own: &[&Waived], all: usize) -> Sender {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut remedies: Vec<String> = Vec::new();
    for row in own {
        *reasons.entry(row.reason.clone()).or_default() += 1;
        if let Some(remedy) = remedy(row)
            && remedies.len() < REMEDIES_MAX
            && !remedies.contains(&remedy)
        {
            remedies.push(remedy);
        }
    }
    if reasons.keys().any(|reason| IS_CURED_BY_TRUST.contains(&reason.as_str())) {
        remedies.push(format!("if you trust it: sixgate trust add {network}"));
    }
    let named = own.iter().rev().find(|row| !row.client_name.is_empty());
    Sender {
        domain,
        network,
        client_name: named.map(|row| row.client_name.clone()).unwrap_or_default(),
        refusals: own.len(),
        percent: percent(own.len(), all),
        reasons,
        remedies,
    }
}

/// Remedies that are named for one sender, beside trust.
const REMEDIES_MAX: usize = 5;
/// The reasons that do not apply to a trusted source.
const IS_CURED_BY_TRUST: [&str; 7] = [
    "address_not_opted_in",
    "no_ptr",
    "ptr_not_confirmed",
    "not_authenticated",
    "null_sender",
    "testing_key",
    "dns_failure",
];

/// What would have had this accepted; none: a rule about the message itself.
fn remedy(row: &Waived) -> Option<String> {
    let (source, sender) = (&row.source, domain(&row.mail_from));
    let recipient = domain(&row.recipient);
    Some(match row.reason.as_str() {
        "address_not_opted_in" => format!("to take mail there: sixgate optin add {}", row.destination),
        "domain_not_opted_in" if !recipient.is_empty() => {
            format!("to take mail for it: sixgate domain add {recipient}")
        }
        "no_ptr" => format!("its administrator has to publish a PTR record for {source}"),
        "ptr_not_confirmed" => {
            format!("its administrator has to publish an AAAA record {source} for the name in its PTR record")
        }
        "not_authenticated" if !sender.is_empty() => format!(
            "its administrator has to add ip6:{source} to the SPF record of {sender}, or to sign with DKIM"
        ),
        "not_authenticated" | "null_sender" => {
            format!("its administrator has to publish an SPF record with ip6:{source} for its name in EHLO")
        }
        "testing_key" => "its administrator has to remove t=y from the DKIM key".to_owned(),
        "dns_failure" => format!("the DNS of {source} or of {sender} did not answer: sixgate status"),
        _ => return None,
    })
}

fn message(row: &Waived) -> Message {
    let time = jiff::Timestamp::from_second(row.at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    Message {
        time: time.to_string(),
        session: row.session.clone(),
        source: row.source.clone(),
        mail_from: row.mail_from.clone(),
        recipient: row.recipient.clone(),
        message_id: row.message_id.clone(),
        reason: row.reason.clone(),
        reply: row.reply.clone(),
    }
}

/// The most frequent names, and how often.
fn counted(names: impl Iterator<Item = String>, top: usize) -> Vec<Counted> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for name in names.filter(|name| !name.is_empty()) {
        *counts.entry(name).or_default() += 1;
    }
    let mut counted: Vec<Counted> =
        counts.into_iter().map(|(name, refusals)| Counted { name, refusals }).collect();
    counted.sort_by(|one, other| other.refusals.cmp(&one.refusals).then_with(|| one.name.cmp(&other.name)));
    counted.truncate(top);
    counted
}

/// The domain of an address, in lower case; empty if it has none.
fn domain(address: &str) -> String {
    address.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase()).unwrap_or_default()
}

/// The /64 of an address.
fn network(source: &str) -> String {
    let address = source.parse::<Ipv6Addr>().ok().and_then(|address| Ipv6Net::new(address, 64).ok());
    address.map_or_else(|| source.to_owned(), |network| network.trunc().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(source: &str, mail_from: &str, reason: &str) -> Waived {
        Waived {
            source: source.to_owned(),
            mail_from: mail_from.to_owned(),
            recipient: "u@Contoso.com".to_owned(),
            destination: "2001:db8:25::25".to_owned(),
            reason: reason.to_owned(),
            ..Waived::default()
        }
    }

    #[test]
    fn senders_are_a_domain_and_a_network() {
        let mut rows = vec![row("2001:db8:1::1", "a@A.example", "no_ptr"); 6];
        rows.extend(vec![row("2001:db8:1::2", "b@a.example", "not_authenticated"); 3]);
        rows.push(row("2001:db8:2::1", "", "null_sender"));
        let report = Report::of(&rows, ReportOptions { top: 1 });
        assert_eq!(report.most, Some(Most { senders: 1, percent: 90 }));
        let [sender] = report.senders.as_slice() else { panic!("{:?}", report.senders) };
        assert_eq!((sender.domain.as_str(), sender.network.as_str()), ("a.example", "2001:db8:1::/64"));
        assert_eq!((sender.refusals, sender.percent), (9, 90));
        assert_eq!(
            sender.remedies,
            [
                "its administrator has to publish a PTR record for 2001:db8:1::1",
                "its administrator has to add ip6:2001:db8:1::2 to the SPF record of a.example, or to sign with DKIM",
                "if you trust it: sixgate trust add 2001:db8:1::/64",
            ]
        );
        let counted = |name: &str, refusals| Counted { name: name.to_owned(), refusals };
        assert_eq!(report.recipient_domains, [counted("contoso.com", 10)]);
        assert_eq!(report.reasons.len(), 3);
        assert_eq!(report.messages.len(), 1);
    }

    #[test]
    fn many_senders_of_the_same_size_are_not_most() {
        let rows: Vec<Waived> =
            (0..10).map(|number| row(&format!("2001:db8:{number}::1"), "a@a.example", "no_ptr")).collect();
        assert_eq!(Report::of(&rows, ReportOptions { top: 3 }).most, None);
        assert_eq!(Report::of(&[], ReportOptions { top: 3 }).refusals, 0);
    }
}
