//! The differences between two configurations, and which of them a running daemon can take over.
//!
//! It applies nothing.

use serde::{Deserialize, Serialize};

use super::{Config, Dkim, Dns, Http, Limits, Listen, Log, Metrics, Ptr, Shadow, Spf, Xdp};
use crate::store::Store;

/// The keys that differ, in the order of the file.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct SettingChanges {
    /// Keys that a reload puts in force.
    pub(crate) reload: Vec<String>,
    /// Keys that keep their value until the daemon is started again.
    pub(crate) restart: Vec<String>,
}

impl SettingChanges {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reload.is_empty() && self.restart.is_empty()
    }

    /// Whether `key` has changed, and the daemon keeps its value until it is started again.
    #[must_use]
    pub fn needs_restart_for(&self, key: &str) -> bool {
        self.restart.iter().any(|changed| changed == key)
    }
}

/// Changed keys that need more than a reload, and the command for them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pending {
    /// The keys, such as `xdp.bpffs`.
    pub keys: Vec<String>,
    /// The command that puts them in force.
    pub command: &'static str,
    /// What happens then, where that is not obvious.
    pub effect: Option<String>,
}

impl SettingChanges {
    /// The changed keys that need more than a reload, by the command that they need.
    #[must_use]
    pub fn pending(&self) -> Vec<Pending> {
        let (remade, restarted): (Vec<String>, Vec<String>) =
            self.restart.iter().cloned().partition(|key| REMADE.contains(&key.as_str()));
        let effect = (!remade.is_empty()).then(|| "maps keep their size until they are made anew".to_owned());
        let remade = Pending { keys: remade, command: "sixgate detach && systemctl restart sixgate", effect };
        let effect = restarted.iter().any(|key| key == "xdp.bpffs").then(|| {
            "the daemon then takes the XDP program over from the earlier directory, and the PTR results of senders are \
             asked again"
                .to_owned()
        });
        let restarted = Pending { keys: restarted, command: "systemctl restart sixgate", effect };
        [restarted, remade].into_iter().filter(|pending| !pending.keys.is_empty()).collect()
    }
}

/// Notes the fields that differ, under a prefix. All fields of the type have to be named.
macro_rules! note {
    ($list:expr, $prefix:literal, $kind:ident, $one:expr, $other:expr, [$($field:ident),* $(,)?]) => {{
        let $kind { $($field),* } = $one;
        $(
            if *$field != $other.$field {
                $list.push(concat!($prefix, stringify!($field)).to_owned());
            }
        )*
    }};
}

impl Config {
    /// The configuration that a daemon running with `self` takes over from `next`, and the keys
    /// that differ. Values that need a new start are as in `self`.
    #[must_use]
    pub fn reloaded(&self, next: &Self) -> (Self, SettingChanges) {
        let changes = self.changes(next);
        let mut taken = next.clone();
        taken.file.clone_from(&self.file);
        taken.sandbox = self.sandbox;
        taken.store.clone_from(&self.store);
        taken.control_socket.clone_from(&self.control_socket);
        taken.listen.clone_from(&self.listen);
        taken.dns.clone_from(&self.dns);
        taken.xdp = Xdp { interfaces: taken.xdp.interfaces, mode: taken.xdp.mode, ..self.xdp.clone() };
        taken.limits.dns_questions_per_minute = self.limits.dns_questions_per_minute;
        taken.limits.dns_questions_per_domain = self.limits.dns_questions_per_domain;
        taken.limits.dns_concurrency = self.limits.dns_concurrency;
        taken.log.format = self.log.format;
        taken.log.program.clone_from(&self.log.program);
        (taken, changes)
    }

    /// The keys that differ. Neither the file's own name nor former names of keys count.
    fn changes(&self, next: &Self) -> SettingChanges {
        let mut keys = Vec::new();
        let Self {
            file: _,
            renamed_keys: _,
            hostname,
            mode,
            answer,
            refuse_at,
            permanent_refusals,
            temporary_refusals,
            domains,
            sandbox,
            store,
            temporary_directory,
            control_socket,
            listen,
            dns,
            ptr,
            spf,
            dkim,
            next_hop,
            xdp,
            tls,
            limits,
            log,
            metrics,
            http,
            shadow,
        } = self;
        for (key, differs) in [
            ("hostname", *hostname != next.hostname),
            ("mode", *mode != next.mode),
            ("answer", *answer != next.answer),
            ("refuse_at", *refuse_at != next.refuse_at),
            ("permanent_refusals", *permanent_refusals != next.permanent_refusals),
            ("temporary_refusals", *temporary_refusals != next.temporary_refusals),
            ("domains", *domains != next.domains),
            ("sandbox", *sandbox != next.sandbox),
            ("store", Store::new(store).path() != Store::new(&next.store).path()),
            ("temporary_directory", *temporary_directory != next.temporary_directory),
            ("control_socket", *control_socket != next.control_socket),
            ("next_hop", *next_hop != next.next_hop),
            ("tls", *tls != next.tls),
        ] {
            keys.extend(differs.then(|| key.to_owned()));
        }
        note!(keys, "listen.", Listen, listen, next.listen, [addresses]);
        note!(keys, "dns.", Dns, dns, next.dns, [servers, timeout, attempts]);
        note!(keys, "ptr.", Ptr, ptr, next.ptr, [demand_forward_confirmation]);
        note!(keys, "spf.", Spf, spf, next.spf, [count_missing_family_as_void]);
        note!(keys, "dkim.", Dkim, dkim, next.dkim, [accept_partial_body]);
        note!(
            keys,
            "xdp.",
            Xdp,
            xdp,
            next.xdp,
            [interfaces, mode, bpffs, guard, optin_entries, ptr_entries, flow_entries, cookie_key]
        );
        note_limits(&mut keys, limits, &next.limits);
        note!(keys, "log.", Log, log, next.log, [level, format, program]);
        note!(keys, "metrics.", Metrics, metrics, next.metrics, [file]);
        note!(keys, "http.", Http, http, next.http, [listen]);
        note!(keys, "shadow.", Shadow, shadow, next.shadow, [keep, entries]);
        let (restart, reload) = keys.into_iter().partition(|key| needs_restart(key));
        SettingChanges { reload, restart }
    }
}

/// Notes those of `[limits]`.
fn note_limits(keys: &mut Vec<String>, one: &Limits, other: &Limits) {
    note!(
        keys,
        "limits.",
        Limits,
        one,
        other,
        [
            connections,
            connections_per_source,
            connections_per_64,
            connections_per_56,
            connections_per_48,
            messages_per_connection,
            recipients,
            message_size,
            message_memory,
            message_disk,
            line_length,
            received,
            errors,
            dns_questions_per_minute,
            dns_questions_per_domain,
            spf_void_terms,
            dns_concurrency,
            next_hop_connections,
            next_hop_idle_timeout,
            command_timeout,
            data_timeout,
            data_rate,
            transaction_timeout,
            session_timeout,
            verification_timeout,
            dkim_concurrency_small,
            dkim_concurrency_large,
            dkim_large_message,
            dkim_queue_timeout,
            dkim_max_hashed,
        ]
    );
}

/// Whether a key has its effect at the start only.
fn needs_restart(key: &str) -> bool {
    RESTART.contains(&key) || RESTART_TABLES.iter().any(|table| key.starts_with(table))
}

/// As [`Config::reloaded`] leaves them.
const RESTART: [&str; 14] = [
    "sandbox",
    "store",
    "control_socket",
    "xdp.bpffs",
    "xdp.guard",
    "xdp.optin_entries",
    "xdp.ptr_entries",
    "xdp.flow_entries",
    "xdp.cookie_key",
    "limits.dns_questions_per_minute",
    "limits.dns_questions_per_domain",
    "limits.dns_concurrency",
    "log.format",
    "log.program",
];
/// Those of them that are sizes of maps.
const REMADE: [&str; 3] = ["xdp.optin_entries", "xdp.ptr_entries", "xdp.flow_entries"];
const RESTART_TABLES: [&str; 2] = ["listen.", "dns."];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(&format!("hostname = \"gate.example\"\n{text}"), Path::new("/a.toml")).unwrap()
    }

    #[test]
    fn each_key_is_taken_over_or_named_as_needing_a_restart() {
        let running = config("");
        let rows: [(&str, &[&str], &[&str]); 6] = [
            ("", &[], &[]),
            ("mode = \"shadow\"\nlog.level = \"warn\"", &["mode", "log.level"], &[]),
            ("store = \"/s\"\nlisten.addresses = [\"[::1]:25\"]", &[], &["store", "listen.addresses"]),
            (
                "limits = { recipients = 7, dns_concurrency = 8 }",
                &["limits.recipients"],
                &["limits.dns_concurrency"],
            ),
            (
                "next_hop.smtp = \"[::1]:10025\"\nxdp = { interfaces = [\"a\"], guard = \"store\" }",
                &["next_hop", "xdp.interfaces"],
                &["xdp.guard"],
            ),
            (
                "log.format = \"json\"\nmetrics.file = \"/m\"\nhttp.listen = \"[::1]:9625\"",
                &["metrics.file", "http.listen"],
                &["log.format"],
            ),
        ];
        for (text, reload, restart) in rows {
            let next = config(text);
            let (taken, changes) = running.reloaded(&next);
            assert_eq!(changes, SettingChanges { reload: named(reload), restart: named(restart) }, "{text}");
            // what was taken over differs no more, and what was not still does
            let left = SettingChanges { reload: Vec::new(), restart: named(restart) };
            assert_eq!(taken.reloaded(&next).1, left, "{text}");
        }
    }

    fn named(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }
}
