//! Configurations for the daemon: a usual one, and changes laid over it.
//!
//! It does not check them: the daemon does.

use std::{path::Path, time::Duration};

use toml::{Table, Value};

use crate::timeouts::scaled;

/// A gate called gate.example that asks the DNS server `dns`, delivers into `folder`/Maildir, and
/// keeps its store and pins in `folder`. It waits long for DNS: a busy machine does not make a
/// failure of an answer; see [`silent_dns`].
#[must_use]
pub fn usual(folder: &Path, dns: &str) -> Table {
    let folder = folder.display();
    let timeout = scaled(DNS_TIMEOUT).min(DNS_TIMEOUT_MAX).as_millis();
    let text = format!(
        r#"
        hostname = "gate.example"
        store = "{folder}/store.db"
        control_socket = "{folder}/control"
        dns = {{ servers = ["{dns}"], timeout = "{timeout}ms", attempts = 2 }}
        next_hop = {{ maildir = "{folder}/Maildir" }}
        xdp = {{ bpffs = "{folder}/bpf/sixgate" }}
        "#
    );
    text.parse().expect("the text above is TOML")
}

/// The setting of a gate whose DNS server leaves questions without an answer: a short time-out.
#[must_use]
pub fn silent_dns() -> String {
    let timeout = scaled(SILENT_DNS_TIMEOUT).min(DNS_TIMEOUT_MAX).as_millis();
    format!("dns.timeout = \"{timeout}ms\"")
}

/// Lays `changes` over `table`: tables are merged, other values replaced. A next hop replaces the
/// whole one.
pub fn lay_over(table: &mut Table, changes: Table) {
    for (key, change) in changes {
        match (table.get_mut(&key), change) {
            (Some(Value::Table(inner)), Value::Table(change)) if key != "next_hop" => lay_over(inner, change),
            (_, change) => {
                table.insert(key, change);
            }
        }
    }
}

/// How long the daemon waits for DNS.
const DNS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it waits where the case is that no answer comes.
const SILENT_DNS_TIMEOUT: Duration = Duration::from_millis(300);
/// The longest that the daemon takes.
const DNS_TIMEOUT_MAX: Duration = Duration::from_secs(10);
