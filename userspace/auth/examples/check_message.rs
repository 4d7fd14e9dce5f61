//! Checks SPF, DKIM and reverse DNS of a message in a file, and prints what was found.
//!
//! ```console
//! $ cargo run -p sixgate-auth --example check_message -- message.eml --ip 2001:db8::25 \
//!       --from joe@example.org
//! ```
//!
//! Without `--from` the reverse-path is null, as in a bounce. DNS servers are those of
//! /etc/resolv.conf, or `--dns`.

use std::{
    env, fs,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    num::NonZeroU8,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use sixgate_auth::{DkimSettings, DkimVerifier, Resolver, Results, SpfQuery, auth_results, ptr, spf};
use tokio::time::Instant;

const USAGE: &str =
    "usage: check_message FILE --ip ADDRESS [--from ADDRESS] [--helo NAME] [--dns ADDRESS:PORT]";
/// The name of the host that makes the checks (RFC 8601 2.5).
const AUTHSERV_ID: &str = "localhost";
const TIME_LIMIT: Duration = Duration::from_secs(30);

struct MessageOptions {
    file: String,
    ip: IpAddr,
    from: Option<String>,
    helo: String,
    dns: Vec<SocketAddr>,
}

impl MessageOptions {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let (mut file, mut ip, mut from, mut helo, mut dns) = (None, None, None, None, Vec::new());
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value\n{USAGE}"));
            match argument.as_str() {
                "--ip" => ip = Some(value()?.parse().context("--ip: not an IP address")?),
                "--from" => from = Some(value()?),
                "--helo" => helo = Some(value()?),
                "--dns" => dns.push(value()?.parse().context("--dns: not an address with a port")?),
                _ if argument.starts_with('-') || file.is_some() => {
                    bail!("unexpected argument `{argument}`\n{USAGE}")
                }
                _ => file = Some(argument),
            }
        }
        let (Some(file), Some(ip)) = (file, ip) else { bail!("{USAGE}") };
        // a client without a better name gives its address (RFC 5321 4.1.4)
        let helo = helo.unwrap_or_else(|| match ip {
            IpAddr::V4(ip) => format!("[{ip}]"),
            IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
        });
        Ok(Self { file, ip, from, helo, dns })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(env::args().skip(1), &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("check_message: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Reads `arguments` as [`USAGE`] has them, and writes the report to `out`.
pub(crate) async fn run(arguments: impl Iterator<Item = String>, out: &mut impl Write) -> Result<()> {
    let MessageOptions { file, ip, from, helo, dns } = MessageOptions::read(arguments)?;
    let message = fs::read(&file).with_context(|| format!("cannot read {file}"))?;
    let message: Arc<[u8]> = with_crlf(&message).into();
    let resolver = match dns.as_slice() {
        [] => Resolver::system(),
        servers => Resolver::new(servers, Duration::from_secs(5), NonZeroU8::MIN),
    };

    let query = SpfQuery::new(ip, &helo, from.as_deref());
    let verifier = DkimVerifier::new(DkimSettings::DEFAULT);
    let deadline = Instant::now() + TIME_LIMIT;
    let (ptr, spf, dkim) = tokio::join!(
        ptr::check(&resolver, ip),
        spf::check(&resolver, &query),
        verifier.verify(&resolver, message, deadline),
    );

    writeln!(
        out,
        "PTR:  {}{}",
        ptr.result.text(),
        ptr.result.name().map(|name| format!(" ({name})")).unwrap_or_default()
    )?;
    for (identity, check) in [("MAIL FROM", &spf.mail_from), ("HELO", &spf.helo)] {
        writeln!(out, "SPF:  {} for {identity} {} ({})", check.result.text(), check.domain, check.why())?;
    }
    if dkim.signatures.is_empty() {
        writeln!(out, "DKIM: none")?;
    }
    for signature in &dkim.signatures {
        let reason = signature.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        writeln!(
            out,
            "DKIM: {} by {} with key {}{reason}",
            signature.result.text(),
            signature.domain,
            signature.selector
        )?;
    }
    let results =
        Results { client: ip, ptr: Some(&ptr.result), spf: Some(&spf), dkim: Some(&dkim.signatures) };
    write!(out, "{}", auth_results::header(AUTHSERV_ID, &results))?;
    Ok(())
}

/// A message as SMTP transfers it: files often have lines that end with LF alone.
fn with_crlf(octets: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(octets.len());
    for line in octets.split_inclusive(|octet| *octet == b'\n') {
        let text = line.strip_suffix(b"\n").map(|text| text.strip_suffix(b"\r").unwrap_or(text));
        message.extend_from_slice(text.unwrap_or(line));
        message.extend_from_slice(if text.is_some() { b"\r\n" } else { b"" });
    }
    message
}
