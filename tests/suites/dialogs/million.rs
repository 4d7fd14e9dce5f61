//! A million refused sessions: nothing is wrong in any, and nothing grows.

use std::{
    fs,
    net::{SocketAddrV6, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context as _, Result, ensure};
use sixgate_tests::{
    gate,
    scene::{Link, Scene},
    site::{OTHER, SENDER, Site},
    timeouts::patience,
};

use crate::{
    kernel::NEEDS,
    session::{self, End},
};

#[test]
fn a_million_sessions_leave_nothing_behind() {
    if !gate::long() || !gate::require(NEEDS) {
        return;
    }
    let settings = format!("log.level = \"warn\"\nxdp.flow_entries = {FLOW_ENTRIES}");
    let scene = Scene::new(Link::Native, "", &settings).unwrap();
    let site = &scene.site;
    let daemon = site.serve(&[]);
    // the sender's address, and the neighbours'
    drop(site.connect(SENDER, OTHER));
    play(site, WARM_UP).unwrap();
    let before = resident(daemon.pid());
    play(site, SESSIONS).unwrap();
    let after = resident(daemon.pid());
    assert!(after < before + GROWTH_MAX, "the daemon grew from {before} KiB to {after} KiB");
    scene.answered((1 + WARM_UP + SESSIONS) as u64).unwrap();
    for stopped in ["answer_no_entry", "drop_no_room", "drop_outdated", "answer_line_lost"] {
        assert_eq!(site.counter(stopped), 0, "{stopped}");
    }
    let flows: serde_json::Value = serde_json::from_str(&site.sixgate("flows --json")).unwrap();
    let flows = flows["flows"].as_array().map_or(0, Vec::len);
    assert!(flows <= FLOW_ENTRIES, "{flows} flows");
    daemon.stop().unwrap();
}

/// Goes through `sessions` sessions, [`AT_A_TIME`] at a time.
fn play(site: &Site, sessions: usize) -> Result<()> {
    let destination = SocketAddrV6::new(OTHER.parse()?, 25, 0, 0);
    let started = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while started.fetch_add(1, Ordering::Relaxed) < sessions {
            let stream = TcpStream::connect(destination).context("connect")?;
            let end = session::play(stream, patience(), patience())?;
            ensure!(end == End::Complete, "no greeting");
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(|| site.outside.run(work))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}

/// Resident memory of a process, in KiB (proc_pid_status(5), VmRSS).
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

const SESSIONS: usize = 1_000_000;
/// Sessions after which everything has its size.
const WARM_UP: usize = 20_000;
const AT_A_TIME: usize = 16;
/// KiB by which the daemon may grow.
const GROWTH_MAX: u64 = 8 * 1024;
/// Far fewer than there are sessions.
const FLOW_ENTRIES: usize = 8192;
