//! Which frames of the common dialogue are answered by `ebpf/src/hot` alone, in each form of their
//! checksums: the other modules leave traces in their memory, SCRATCH, and it does not.
//!
//! Whether the answers of both are right is asked by the neighbouring tests.

use std::collections::BTreeMap;

use aya::maps::PerCpuArray;
use sixgate_common::refuse::ReplyId;
use sixgate_dataplane::{Marks, StationUse};
use sixgate_tests::{
    gate,
    packet::{
        Checksum, Packet, SENDER_MAC, Vlan,
        answer::Answer,
        tcp::{ACK, FIN, PSH, SYN},
    },
};

use super::session::{CLIENT, Sender, about, bare, greeting, line, load, text};
use crate::program::{NATIVE, NEEDS, OURS, Program, STATION, XDP_DROP, XDP_TX, run_once};

/// One form of frames, on one kind of interface.
struct Form {
    name: &'static str,
    station: StationUse,
    checksum: Checksum,
    /// Whether the SYN, then the other frames with an answer, then those without one need no more
    /// than the one function.
    is_hot: [bool; 3],
}

#[test]
fn the_common_dialogue_takes_the_short_way_in_each_form_of_its_frames() {
    if !gate::require(NEEDS) {
        return;
    }
    let lost = StationUse { marks: Marks::Lost, ..NATIVE };
    let kept = StationUse { marks: Marks::Kept, peer: Some(SENDER_MAC), ..NATIVE };
    let (full, partial) = (Checksum::Full, Checksum::Partial);
    let forms = [
        Form { name: "a card", station: NATIVE, checksum: full, is_hot: [true, true, true] },
        Form { name: "a veth, remote", station: lost, checksum: full, is_hot: [true, true, true] },
        Form { name: "a veth, local", station: lost, checksum: partial, is_hot: [true, true, true] },
        Form { name: "generic mode, remote", station: kept, checksum: full, is_hot: [false, true, true] },
        Form { name: "generic mode, local", station: kept, checksum: partial, is_hot: [false, false, true] },
        Form { name: "a tap, local", station: NATIVE, checksum: partial, is_hot: [false, false, true] },
    ];
    let mut program = load();
    for form in forms {
        program.maps.set_stations(&BTreeMap::from([(STATION, form.station)])).unwrap();
        dialogue(&mut program, &form, &[]);
    }
    // frames that are left to the other modules are answered with the same octets
    let tagged = Form { name: "a veth, tagged", station: lost, checksum: partial, is_hot: [false; 3] };
    program.maps.set_stations(&BTreeMap::from([(STATION, tagged.station)])).unwrap();
    dialogue(&mut program, &tagged, &[Vlan::Customer]);
}

/// A whole refused session.
fn dialogue(program: &mut Program, form: &Form, vlans: &[Vlan]) {
    let syn = program.next_connection().source(CLIENT).destination(OURS).options(&OPTIONS);
    let syn = vlans.iter().fold(syn, |syn, vlan| syn.vlan(*vlan));
    let answer = answered(program, form, &syn, form.is_hot[0]).unwrap();
    assert_eq!((answer.flags, &answer.data[..]), (SYN | ACK, &b""[..]), "{}", form.name);
    let sender = Sender::half_open_with(program, &syn);
    let closing = text(ReplyId::Quit);
    let (mut at, mut ack) = (0, 0);
    for (command, wanted) in [
        ("", greeting()),
        ("EHLO mail.sender.example\r\n", text(ReplyId::Ehlo)),
        ("HELO x.example\r\n", text(ReplyId::Helo)),
        ("MAIL FROM:<a@sender.example>\r\n", text(ReplyId::Mail)),
        ("RCPT TO:<user@contoso.com>\r\n", about(ReplyId::NotOptedIn, "contoso.com")),
        ("QUIT\r\n", closing.clone()),
    ] {
        let sent = if command.is_empty() { bare(ACK, 0, 0) } else { line(at, ack, command.as_bytes()) };
        let answer = answered(program, form, &sender.packet(sent), form.is_hot[1]).unwrap();
        let flags = if wanted == closing { ACK | PSH | FIN } else { ACK | PSH };
        at += sent.data.len() as i32;
        let place = format!("{} {command:?}", form.name);
        assert_eq!((sender.numbers(&answer), answer.flags), ((ack, at), flags), "{place}");
        assert_eq!(String::from_utf8_lossy(&answer.data), wanted, "{place}");
        ack += wanted.len() as i32;
        // the acknowledgement that a host sends where no command is ready is never answered
        let acknowledgment = sender.packet(bare(ACK, at, ack));
        assert_eq!(answered(program, form, &acknowledgment, form.is_hot[2]), None, "{place}");
    }
    let fin = sender.packet(bare(ACK | FIN, at, ack + 1));
    let answer = answered(program, form, &fin, form.is_hot[1]).unwrap();
    assert_eq!((sender.numbers(&answer), answer.flags), ((ack + 1, at + 1), ACK), "{}", form.name);
}

/// The answer to a packet in that form, if it is not dropped.
///
/// # Panics
/// If it takes the other way through the program than the one function, or the other way round; if
/// the answer is not in the form that answers have.
fn answered(program: &mut Program, form: &Form, packet: &Packet, is_hot: bool) -> Option<Answer> {
    let packet = packet.clone().checksum(form.checksum);
    let before = scratch(program);
    let (action, after) = run_once(program.xdp(), &packet.build());
    assert_eq!(scratch(program) == before, is_hot, "{}: {packet:?}", form.name);
    match action {
        XDP_DROP => return None,
        XDP_TX => {}
        _ => panic!("{}: action {action} for {packet:?}", form.name),
    }
    let keeps_marks = form.station.marks != Marks::Lost;
    // where no mark is left, nothing in the answer is there for a device
    let packet = if keeps_marks { packet } else { packet.checksum(Checksum::Full) };
    Some(Answer::read(&after, &packet))
}

/// The memory that modules other than `hot` use for the frame at hand, of each CPU.
fn scratch(program: &Program) -> Vec<[u8; SCRATCH_OCTETS]> {
    let scratch: PerCpuArray<_, [u8; SCRATCH_OCTETS]> = program.map("SCRATCH").try_into().unwrap();
    scratch.get(&0, 0).unwrap().to_vec()
}

/// The size of `Memory` in `ebpf/src/dialogue/scratch.rs`.
const SCRATCH_OCTETS: usize = 4288;
/// Options of Linux's SYNs: maximum segment size, selective acknowledgement, timestamps, window
/// scale.
const OPTIONS: [u8; 20] = [2, 4, 5, 0xa0, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
