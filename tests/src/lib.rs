//! Support library of the suites, the demo and the bench: namespaces, the daemon, clients, servers.
//!
//! It owns no claim about sixgate: those are in the suites.

pub mod bpffs;
pub mod browser;
pub mod cards;
pub mod certs;
pub mod client;
pub mod clock;
pub mod conformance;
pub mod daemon;
pub mod descriptors;
pub mod dialog;
pub mod dns;
pub mod dovecot;
pub mod exim;
pub mod gate;
pub mod http;
pub mod log_readers;
pub mod metrics;
pub mod mounts;
pub mod netns;
pub mod opensmtpd;
pub mod packet;
pub mod postfix;
pub mod prometheus;
pub mod scene;
pub mod sender;
pub mod service;
pub mod settings;
pub mod sign;
pub mod site;
pub mod smtp_sink;
pub mod timeouts;
pub mod trace;
pub mod transcript;
pub mod unpacked;
pub mod vm;
pub mod xdp_helper;
