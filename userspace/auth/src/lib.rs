//! Who sent a message, as DNS and signatures tell: reverse DNS ([`ptr`], RFC 8601 3), SPF ([`spf`],
//! RFC 7208) and DKIM ([`dkim`], RFC 6376), all of one bounded [`Resolver`], and the header field
//! that reports it ([`auth_results`], RFC 8601).
//!
//! Mechanism only: it finds out, and decides nothing. It opens no socket but those to DNS servers.
//! A DNS server that does not answer is never taken for the absence of a record: each check has a
//! result of its own for it, `temperror`.
//!
//! A check whose resolver is [`Resolver::recorded`] leaves its steps with a [`Recorder`]: the
//! questions to DNS, and the way to its result.
//!
//! All checks are async functions for a Tokio runtime. They do not return `Result`: the results of
//! the RFCs, errors included, are what they are for. Only the [`Resolver`]'s own questions fail,
//! with a [`DnsFailure`].
//!
//! ```no_run
//! use std::{sync::Arc, time::Duration};
//!
//! use sixgate_auth::{
//!     DkimSettings, DkimVerifier, Resolver, Results, SpfQuery, auth_results, ptr, spf,
//! };
//! use tokio::time::Instant;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let message: Arc<[u8]> = std::fs::read("message.eml")?.into();
//! let client = "2001:db8::25".parse().expect("an address");
//! let resolver = Resolver::system();
//!
//! let ptr = ptr::check(&resolver, client).await.result;
//! let query = SpfQuery::new(client, "mail.example.org", Some("joe@example.org"));
//! let spf = spf::check(&resolver, &query).await;
//! let deadline = Instant::now() + Duration::from_secs(30);
//! let dkim = DkimVerifier::new(DkimSettings::DEFAULT).verify(&resolver, message, deadline).await;
//!
//! let results =
//!     Results { client, ptr: Some(&ptr), spf: Some(&spf), dkim: Some(&dkim.signatures) };
//! print!("{}", auth_results::header("mx.example.net", &results));
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod auth_results;
pub mod dkim;
pub mod dns;
mod fields;
pub mod ptr;
pub mod spf;
pub mod trace;

pub use auth_results::Results;
pub use dkim::{DkimFindings, DkimResult, DkimSettings, DkimSignature, DkimVerifier, Message};
pub use dns::{DnsBounds, DnsFailure, Resolver};
pub use ptr::{PtrCache, PtrFinding, PtrResult};
pub use sixgate_base::endpoint::Endpoint;
pub use spf::{SpfCheck, SpfQuery, SpfReason, SpfResult, SpfResults};
pub use trace::Recorder;

/// The example of the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
