//! Debian's Prometheus, unpacked by `cargo xtask setup`, never installed: promtool, and a server
//! that scrapes the daemon.
//!
//! It knows no metric of ours.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use data_encoding::HEXLOWER;
use serde_json::Value;

use crate::{
    http,
    mounts::Mounts,
    netns::Netns,
    unpacked::{self, Running},
};

/// A server that scrapes the daemon each second; ended when it is dropped.
#[derive(Debug)]
pub struct Prometheus {
    netns: Netns,
    // Kept until nothing asks it any more.
    _running: Running,
}

impl Prometheus {
    /// Starts it in `netns`, where it scrapes `target` as the job "sixgate" and evaluates the
    /// alerts of the file `rules`.
    ///
    /// # Errors
    /// If it is not unpacked, or does not start; with its log.
    pub fn start(netns: &Netns, target: &str, rules: &Path) -> Result<Self> {
        let root = root()?;
        let folder = unpacked::open_folder()?;
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{rules:?}]\n\
             scrape_configs: [{{job_name: sixgate, static_configs: [{{targets: [{target:?}]}}]}}]\n"
        );
        fs::write(&config, text).context("cannot configure Prometheus")?;
        let mounts = Mounts::new(folder.path());
        let mut command = Command::new(root.join(PROGRAM));
        command.arg("--config.file").arg(&config).arg("--storage.tsdb.path").arg(folder.path().join("data"));
        command.arg(format!("--web.listen-address={ADDRESS}"));
        let running = Running::start("Prometheus", netns, folder, &mounts, &mut command, None)?;
        running.log().wait_for("Server is ready to receive web requests")?;
        Ok(Self { netns: netns.try_clone()?, _running: running })
    }

    /// The series that `query` finds now.
    ///
    /// # Errors
    /// If it is not a query, with the reason.
    pub fn query(&self, query: &str) -> Result<Vec<Value>> {
        // each octet escaped: Prometheus takes any
        let escaped =
            query.bytes().fold(String::new(), |text, octet| text + "%" + &HEXLOWER.encode(&[octet]));
        let path = format!("/api/v1/query?query={escaped}");
        let answer = http::get_from(&self.netns, ADDRESS, &path)?;
        let answer: Value = serde_json::from_str(&answer.body).context("not JSON")?;
        let series = answer["data"]["result"].as_array();
        series.cloned().with_context(|| format!("{query}: {answer}"))
    }
}

fn root() -> Result<PathBuf> {
    folder().context("Prometheus is not unpacked: use `cargo xtask setup`")
}

/// Where Prometheus is unpacked, if it is.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    unpacked::root("prometheus", PROGRAM)
}

/// Runs promtool with `input`; whether it succeeded, and all that it printed.
///
/// # Errors
/// If it is not there.
pub fn promtool(arguments: &[&str], input: &str) -> Result<(bool, String)> {
    let mut command = Command::new(root()?.join("usr/bin/promtool"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("cannot start promtool")?;
    let mut stdin = child.stdin.take().context("its input is a pipe")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

/// Its own listener.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);
const PROGRAM: &str = "usr/bin/prometheus";
