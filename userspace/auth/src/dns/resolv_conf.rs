//! The servers of resolv.conf(5), and when they change.
//!
//! Only `nameserver` lines are read: names are absolute here, so that nothing that stands in
//! `search` or `options` matters. It asks nothing.

use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sixgate_base::{
    bounded,
    endpoint::Endpoint,
    file_version::{FileVersion, file_version},
};
use tracing::{info, warn};

/// Where the system's servers stand.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Servers that are taken, from the top (MAXNS in resolv.h).
pub const MAX_SYSTEM_SERVERS: usize = 3;
/// Time between two looks at the file.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Longest file, in octets.
const FILE_MAX: u64 = 1 << 20;
const DNS_PORT: u16 = 53;
/// As the C library does, and IPv6.
const LOCAL: [&str; 2] = ["::1", "127.0.0.1"];

/// The file, as it was when it was read last.
pub(super) struct ResolvConf {
    path: PathBuf,
    version: Option<FileVersion>,
    looked: Instant,
    servers: Vec<Endpoint>,
}

impl ResolvConf {
    /// Reads the file. If it is missing or names no server, the host itself is asked, as by the C
    /// library.
    pub(super) fn open(path: &Path) -> Self {
        let mut file =
            Self { path: path.to_owned(), version: version(path), looked: Instant::now(), servers: local() };
        match file.read() {
            Ok(servers) => file.servers = servers,
            Err(error) => warn!(
                "{}: {error}; asking the DNS server of this host, {}",
                path.display(),
                listed(&file.servers)
            ),
        }
        file
    }

    pub(super) fn servers(&self) -> &[Endpoint] {
        &self.servers
    }

    /// Looks whether the file has changed, once a second at most; whether there are other servers
    /// now. One stat(2), and mostly nothing else.
    pub(super) fn has_changed(&mut self) -> bool {
        let now = Instant::now();
        if now.duration_since(self.looked) < LOOK_INTERVAL {
            return false;
        }
        self.looked = now;
        let version = version(&self.path);
        if version == self.version {
            return false;
        }
        self.version = version;
        match self.read() {
            Ok(servers) if servers == self.servers => false,
            Ok(servers) => {
                // not a session's business, although one may be the first to look
                info!(parent: None, "{} has changed: asking {}", self.path.display(), listed(&servers));
                self.servers = servers;
                true
            }
            Err(error) => {
                warn!(parent: None, "{} has changed: {error}; still asking {}", self.path.display(), listed(&self.servers));
                false
            }
        }
    }

    fn read(&self) -> io::Result<Vec<Endpoint>> {
        let octets = bounded::read_to_end(bounded::open(&self.path)?, FILE_MAX)?;
        let mut servers = Vec::new();
        for text in nameservers(&String::from_utf8_lossy(&octets)) {
            match endpoint(&text) {
                Some(_) if servers.len() == MAX_SYSTEM_SERVERS => {}
                Some(server) => servers.push(server),
                None => warn!(
                    "{}: `nameserver {}` is not an address that can be asked; ignored",
                    self.path.display(),
                    text.escape_debug()
                ),
            }
        }
        if servers.is_empty() { Err(io::Error::other("it names no DNS server")) } else { Ok(servers) }
    }
}

/// The values of the `nameserver` lines.
fn nameservers(text: &str) -> Vec<String> {
    let value = |line: &str| {
        let rest = line.strip_prefix("nameserver")?;
        let value = rest.split_whitespace().next().filter(|_| rest.starts_with(char::is_whitespace))?;
        Some(value.split(['#', ';']).next().unwrap_or_default().to_owned())
    };
    text.lines().filter_map(value).collect()
}

fn endpoint(text: &str) -> Option<Endpoint> {
    let (ip, zone) = match text.split_once('%') {
        Some((ip, zone)) => (ip, Some(zone)),
        None => (text, None),
    };
    Endpoint::new(ip.parse().ok()?, zone, DNS_PORT)
}

fn local() -> Vec<Endpoint> {
    LOCAL.iter().filter_map(|text| endpoint(text)).collect()
}

fn listed(servers: &[Endpoint]) -> String {
    let servers: Vec<String> = servers.iter().map(Endpoint::to_string).collect();
    servers.join(", ")
}

fn version(path: &Path) -> Option<FileVersion> {
    file_version(path).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_are_read() {
        let text = "# nameserver 192.0.2.9\n; x\nsearch a..b -x. example\ndomain ..\noptions timeout:x attempts:\n\
                    nameserver\t192.0.2.1\nnameserver 2001:db8::53 # comment\nnameserver fe80::53%eth1\n\
                    nameserver\nnameservers 192.0.2.2\n nameserver 192.0.2.3\nsortlist x\n\u{0}";
        assert_eq!(nameservers(text), ["192.0.2.1", "2001:db8::53", "fe80::53%eth1"]);
        let shown = |text: &str| endpoint(text).map(|server| server.to_string());
        let rows = [
            ("192.0.2.1", Some("192.0.2.1:53")),
            ("fe80::53%eth1", Some("[fe80::53%eth1]:53")),
            ("fe80::53%3", Some("[fe80::53%3]:53")),
            ("2001:db8::1%eth0", Some("[2001:db8::1]:53")),
            ("fe80::53", None),
            ("dns.example", None),
            ("192.0.2.1:53", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(shown(text).as_deref(), wanted, "{text}");
        }
    }
}
