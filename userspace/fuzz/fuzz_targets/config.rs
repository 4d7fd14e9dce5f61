//! Configurations: the error about a bad one has a line of the file and one line of text; a good
//! one keeps its promises.
//!
//! The effect of the settings is not tried here.

#![no_main]

use std::{net::IpAddr, path::Path, time::Duration};

use libfuzzer_sys::fuzz_target;
use sixgate::{
    config::{Config, ConfigError, Domains, NextHop},
    nexthop::ClientIdentity,
};

fuzz_target!(|text: &str| {
    match Config::parse(text, Path::new("sixgate.toml")) {
        Ok(config) => keeps_its_promises(&config),
        Err(ConfigError::Wrong { line, reason, .. }) => {
            assert!((1..=text.matches('\n').count() + 1).contains(&line), "line {line}: {reason}");
            assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
        }
        Err(error) => panic!("nothing was read from a file: {error}"),
    }
});

fn keeps_its_promises(config: &Config) {
    let hostname = config.hostname.as_str();
    assert!((1..=253).contains(&hostname.len()) && hostname.contains('.'), "{hostname:?}");
    assert!(hostname.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-.".contains(&octet)));
    assert!(config.store.is_absolute() && config.xdp.bpffs.is_absolute());
    assert!(config.metrics.file.as_ref().is_none_or(|file| file.is_absolute()));
    assert!(!config.listen.addresses.is_empty());
    let is_ipv6 = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_none());
    assert!(config.listen.addresses.iter().all(|address| is_ipv6(address.ip())));
    let open = matches!(config.next_hop, NextHop::Server { client: ClientIdentity::None, .. });
    assert!(!(open && config.domains == Domains::All), "an open relay");
    let limits = &config.limits;
    assert!(limits.message_memory.get() >= u64::from(limits.message_size.get()));
    let waits = [config.dns.timeout, limits.command_timeout, limits.data_timeout, limits.session_timeout];
    assert!(waits.iter().all(|wait| !wait.is_zero() && *wait <= Duration::from_secs(24 * 60 * 60)));
}
