//! The name of this host in DNS, where the administrator does not name it.
//!
//! It believes the kernel, /etc/hosts and reverse DNS that leads back, in this order.

use std::{collections::BTreeSet, fs, net::IpAddr, time::Duration};

use nix::sys::utsname::uname;
use sixgate_auth::{Resolver, ptr, ptr::PtrResult};
use sixgate_dataplane::global_addresses;
use tokio::time::timeout;

use super::SetupError;
use crate::config::Hostname;

/// The name by which other hosts know this one.
pub(super) async fn find() -> Result<Hostname, SetupError> {
    let given = uname().map(|names| names.nodename().to_string_lossy().into_owned()).unwrap_or_default();
    if let Ok(name) = given.parse() {
        return Ok(name);
    }
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    if let Some(name) = canonical(&hosts, &given) {
        return Ok(name);
    }
    let addresses: BTreeSet<IpAddr> =
        global_addresses().unwrap_or_default().into_iter().map(|(address, _)| address.into()).collect();
    let resolver = Resolver::system();
    for address in addresses.into_iter().take(ADDRESSES_MAX) {
        let Ok(found) = timeout(WAIT, ptr::check(&resolver, address)).await else { continue };
        if let PtrResult::Pass { name } = found.result
            && let Ok(name) = name.parse()
        {
            return Ok(name);
        }
    }
    Err(SetupError::Hostname { given })
}

/// The first name with a domain in a line of hosts(5) that has `given`, too.
fn canonical(hosts: &str, given: &str) -> Option<Hostname> {
    let names = |line: &str| -> Vec<String> {
        let plain = line.split('#').next().unwrap_or_default();
        plain.split_whitespace().skip(1).map(str::to_owned).collect()
    };
    let lines = hosts.lines().map(names).filter(|names| names.iter().any(|name| name == given));
    lines.flatten().filter(|name| !name.ends_with(".localdomain")).find_map(|name| name.parse().ok())
}

/// Addresses whose reverse DNS is looked up.
const ADDRESSES_MAX: usize = 3;
/// How long each may take.
const WAIT: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_hosts_gives_the_name_with_a_domain() {
        let hosts = "127.0.0.1 localhost\n# 127.0.1.1 no.example.net mx\n127.0.1.1\tmx.example.com mx\n";
        let found = |hosts, given| canonical(hosts, given).map(|name| name.to_string());
        assert_eq!(found(hosts, "mx").as_deref(), Some("mx.example.com"));
        assert_eq!(found(hosts, "other"), None);
        assert_eq!(found("127.0.0.1 mx.localdomain mx", "mx"), None);
    }
}
