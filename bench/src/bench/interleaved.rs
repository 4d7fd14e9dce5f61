//! Whole refused sessions, the packets of many of them interleaved: the nearest to a card that
//! hands over many frames at a time.
//!
//! The program stays in the caches, and each session's state is used again after all others' were.
//! There is no network, and no event is read.

use std::{
    collections::BTreeSet,
    net::{Ipv6Addr, SocketAddrV6},
};

use anyhow::{Context as _, Result, ensure};
use sixgate_dataplane::flow_key;

use super::{
    Scale,
    attached::Attached,
    dialogue,
    dialogue::Scored,
    report::{Report, Row, Section, median},
    rig::{Rig, Subject},
    segment::Ends,
};
use sixgate_tests::{
    packet::{Packet, SMTP},
    site::OTHER,
};

/// Measures and adds a table.
///
/// # Errors
/// If something cannot be set up, or a session is not answered as promised.
pub(super) fn measure(scale: Scale, report: &mut Report) -> Result<()> {
    let attached = Attached::new()?;
    let site = &attached.site;
    let mut rig = Rig::open(&attached.pins)?;
    let destination = OTHER.parse()?;
    let frame = Packet::udp().payload(64).build();
    let mut empty = Vec::new();
    let mut times = SESSIONS.map(|_| Vec::new());
    for _ in 0..scale.rounds {
        empty.push(rig.repeat(Subject::Empty, &frame, scale.repeat)?);
        for (number, times) in SESSIONS.iter().zip(&mut times) {
            let sessions = play(&mut rig, *number, |_| destination)?;
            let replies = || site.counter("answer_reply") + site.counter("answer_again");
            let ends = || site.counter("also_ended");
            let before = (replies(), ends());
            times.push(packet(&mut rig, &sessions, scale.repeat)?);
            let (replies, ends) = (replies() - before.0, ends() - before.1);
            ensure!(ends > 0 && replies == 4 * ends, "{replies} replies in {ends} sessions");
        }
    }
    let base = median(empty.iter().copied());
    let rows = SESSIONS.iter().zip(&times).map(|(number, times)| {
        let ratios = times.iter().zip(&empty).map(|(time, empty)| (time + empty) / empty);
        let packet = median(times.iter().copied());
        let sum = packet.zip(base).map(|(packet, base)| packet + base);
        let session = packet.map(|packet| packet * PACKETS as f64 / 1000.0);
        Row::numbers(number.to_string(), [sum, median(ratios), session])
    });
    report.sections.push(Section {
        title: "Refused sessions, their packets interleaved (BPF_PROG_TEST_RUN)",
        columns: vec!["sessions at a time", "ns a packet", "x empty", "us a session"],
        rows: rows.collect(),
        notes: NOTES.map(str::to_owned).to_vec(),
    });
    Ok(())
}

/// Plays `number` sessions, each from another network, of which no two can have the same slot, and
/// to the destination that `destination` gives for each; their packets.
///
/// # Errors
/// If one is not answered as promised.
pub(super) fn play(
    rig: &mut Rig,
    number: usize,
    mut destination: impl FnMut(usize) -> Ipv6Addr,
) -> Result<Vec<Vec<Scored>>> {
    let mut taken = BTreeSet::new();
    let mut sessions = Vec::new();
    for candidate in 0..=u16::MAX {
        if sessions.len() == number {
            break;
        }
        let source = Ipv6Addr::new(0x2001, 0xdb8, 0x51, candidate, 0, 0, 0, 4);
        let ends = Ends {
            source: SocketAddrV6::new(source, FIRST_PORT + candidate % PORTS, 0, 0),
            destination: SocketAddrV6::new(destination(sessions.len()), SMTP, 0, 0),
        };
        let key = flow_key(&ends.source, &ends.destination);
        if !rig.take_places(&key, &mut taken) {
            continue;
        }
        // a round before played the same connection
        rig.forget(&key)?;
        let session = dialogue::play(rig, ends).with_context(|| format!("from {source}"))?;
        ensure!(session.len() == PACKETS, "a session of {} packets", session.len());
        sessions.push(session);
    }
    ensure!(sessions.len() == number, "{} sessions of {number} have slots of their own", sessions.len());
    Ok(sessions)
}

/// Nanoseconds of a packet beyond the empty program's.
///
/// # Errors
/// If a packet does not get its answer.
pub(super) fn packet(rig: &mut Rig, sessions: &[Vec<Scored>], repeat: u32) -> Result<f64> {
    let empty = rig.rotated(Subject::Empty, sessions, repeat)?;
    Ok(rig.rotated(Subject::Tested, sessions, repeat)? - empty)
}

/// Packets of a session that come from the client.
pub(super) const PACKETS: usize = 8;
const SESSIONS: [usize; 3] = [1, 64, 1024];
const FIRST_PORT: u16 = 40_000;
const PORTS: u16 = 10_000;

const NOTES: [&str; 3] = [
    "The first packet of each session, then the second of each, and so on; then all sessions begin again. Each is of \
     another network, and has a slot of its own, which is free when its SYN comes.",
    "The packets lie in a map and are copied into the frame; what that takes, with the empty program behind it, is \
     subtracted. A packet includes the empty program, a session does not.",
    "Records of ends are within their networks' shares, and the ring buffer is full most of the time: nothing reads it.",
];
