//! The packaged configuration with the values of this host: every key stays explained.
//!
//! It knows the form of that one file, a key in a line, and of no other.

use sixgate_smtp::policy::Mode;

use super::target::NextHopTarget;
use crate::{
    config::{Hostname, InterfaceName},
    nexthop::{ClientIdentity, Protocol},
};

/// The configuration that the packages install.
pub(super) const PACKAGED: &str = include_str!("../../../../packaging/sixgate.toml");

/// The text for this host; `client` of a mail server only.
pub(super) fn filled(
    hostname: &Hostname,
    mode: Mode,
    next_hop: &NextHopTarget,
    client: Option<ClientIdentity>,
    interfaces: &[InterfaceName],
) -> String {
    let mut text = PACKAGED.replacen(DEFAULTS, CHOSEN, 1);
    text = set(&text, "", "hostname", &quoted(hostname.as_str()));
    text = set(&text, "", "mode", &quoted(mode.name()));
    match next_hop {
        NextHopTarget::Maildir(path) => {
            text = set(&text, NEXT_HOP, "maildir", &quoted(&path.to_string_lossy()));
        }
        NextHopTarget::Server { protocol, address } => {
            let key = match protocol {
                Protocol::Smtp => "smtp",
                Protocol::Lmtp => "lmtp",
            };
            text = text.replacen("\nmaildir = ", "\n# maildir = ", 1);
            text = set(&text, NEXT_HOP, key, &quoted(&address.to_string()));
            let client = match client.unwrap_or_default() {
                ClientIdentity::None => "none",
                ClientIdentity::Xclient => "xclient",
                ClientIdentity::Proxy => "proxy",
            };
            text = set(&text, NEXT_HOP, "client", &quoted(client));
        }
    }
    let interfaces: Vec<String> = interfaces.iter().map(|name| quoted(name.as_str())).collect();
    set(&text, "xdp", "interfaces", &format!("[{}]", interfaces.join(", ")))
}

/// `text` with `key` of `table` set, where it stands with another value or as a comment.
fn set(text: &str, table: &str, key: &str, value: &str) -> String {
    let mut current = "";
    let mut lines = Vec::new();
    let mut is_set = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            current = name;
        }
        let plain = line.strip_prefix("# ").unwrap_or(line);
        let is_it = plain.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = "));
        if current == table && is_it && !is_set {
            is_set = true;
            lines.push(format!("{key} = {value}"));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

const NEXT_HOP: &str = "next_hop";
const DEFAULTS: &str = "The values here are the defaults, except for mode, whose\n# default is \"enforce\".";
const CHOSEN: &str = "`sixgate init` chose hostname, mode, [next_hop] and\n\
                      # xdp.interfaces for this host; the other values are the defaults.";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, NextHop};

    #[test]
    fn the_packaged_file_takes_each_value_and_keeps_the_rest() {
        assert!(PACKAGED.contains(DEFAULTS));
        let hostname: Hostname = "mx.example.com".parse().unwrap();
        let packaged = Config::parse(PACKAGED, Path::new("packaged.toml")).unwrap();
        for (target, client) in [
            ("smtp://[::1]:10025", ClientIdentity::Xclient),
            ("lmtp://unix:/run/a \"b\"", ClientIdentity::Proxy),
            ("maildir:/var/mail/\u{fc}ber", ClientIdentity::None),
        ] {
            let next_hop: NextHopTarget = target.parse().unwrap();
            let interfaces = ["eth0".parse().unwrap(), "vlan@2".parse().unwrap()];
            let text = filled(&hostname, Mode::Enforce, &next_hop, Some(client), &interfaces);
            let config = Config::parse(&text, Path::new("sixgate.toml")).unwrap_or_else(|error| {
                panic!("{error:#}\n{text}");
            });
            assert_eq!(config.hostname, hostname);
            assert_eq!((config.mode, config.xdp.interfaces.as_slice()), (Mode::Enforce, &interfaces[..]));
            match (&config.next_hop, &next_hop) {
                (NextHop::Maildir(path), NextHopTarget::Maildir(wanted)) => assert_eq!(path, wanted),
                (
                    NextHop::Server { protocol, address, client: sent },
                    NextHopTarget::Server { protocol: wanted, address: at },
                ) => assert_eq!((protocol, address, *sent), (wanted, at, client)),
                other => panic!("{other:?}"),
            }
            assert_eq!((config.store, config.xdp.mode), (packaged.store.clone(), packaged.xdp.mode));
            assert_eq!(text.lines().count(), PACKAGED.lines().count(), "each explanation stays");
        }
    }
}
