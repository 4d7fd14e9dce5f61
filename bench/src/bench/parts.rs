//! The costs of an answer's building blocks: where the time of a packet goes.
//!
//! Each is a program of `tests/ebpf` that does nothing else; the empty program is subtracted.

use anyhow::{Result, ensure};

use sixgate_common::names;

use super::{
    Scale,
    report::{Report, Row, Section, median},
    rig::{XDP_PASS, loaded, time},
};
use sixgate_tests::{
    packet::Packet,
    xdp_helper::{self, PASS},
};

/// Measures every building block and adds a table.
///
/// # Errors
/// If something cannot be loaded.
pub(super) fn measure(scale: Scale, report: &mut Report) -> Result<()> {
    let mut object =
        xdp_helper::loader().map_max_entries(MANY, names::FLOWS_ENTRIES).load(xdp_helper::OBJECT)?;
    for (program, _) in PARTS.iter().chain(&[(PASS, "")]) {
        xdp_helper::program(&mut object, program)?;
    }
    let frame = Packet::udp().payload(64).build();
    let mut measure = |program| -> Result<f64> {
        let (time, outcome) = time(loaded(&mut object, program)?, &frame, scale.repeat)?;
        ensure!(outcome.action == XDP_PASS, "{program} failed");
        Ok(time)
    };
    let mut empty = Vec::new();
    let mut times = PARTS.map(|_| Vec::new());
    for _ in 0..scale.rounds {
        let base = measure(PASS)?;
        for ((program, _), times) in PARTS.iter().zip(&mut times) {
            times.push(measure(program)? - base);
        }
        empty.push(base);
    }
    let rows = PARTS.iter().zip(&times).map(|((_, name), times)| {
        let ratios = times.iter().zip(&empty).map(|(time, empty)| time / empty);
        Row::numbers(*name, [median(times.iter().copied()), median(ratios)])
    });
    report.sections.push(Section {
        title: "The building blocks of an answer, beyond the empty program",
        columns: vec!["part", "ns", "x empty"],
        rows: rows.collect(),
        notes: NOTES.map(str::to_owned).to_vec(),
    });
    Ok(())
}

/// The map that the other users of the helper programs have no need for.
const MANY: &str = "PARTS_MANY";

/// Programs, and what they do.
const PARTS: [(&str, &str); 14] = [
    ("part_length", "length of the frame"),
    ("part_clock", "time"),
    ("part_tick", "time of the last tick"),
    ("part_count", "counter raised"),
    ("part_trie", "look into an empty prefix trie"),
    ("part_find", "connection looked for"),
    ("part_store", "connection stored and removed"),
    ("part_plain", "the same in a hash that is not LRU"),
    ("part_stores", "connection stored, another each time"),
    ("part_cookie", "SYN cookie made"),
    ("part_cookies", "SYN cookie made and checked"),
    ("part_checksum", "checksum of 160 octets"),
    ("part_head", "head moved there and back"),
    ("part_write", "60 octets written"),
];

const NOTES: [&str; 2] = [
    "What any answer is made of: helpers of the kernel and look-ups in maps.",
    "A new connection each time goes through all of a map as large as FLOWS, and so misses the caches as under load.",
];
