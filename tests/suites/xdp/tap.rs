//! A guest behind a tap device, which leaves its checksums to the host and marks this in each
//! frame's header (include/uapi/linux/virtio_net.h), as KVM's guests do.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Write as _},
    os::fd::AsRawFd as _,
    time::Instant,
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use sixgate::control::compile_replies;
use sixgate_common::{
    refuse::ReplyId,
    settings::{ANSWER_KERNEL, Settings},
    stat::Stat,
};
use sixgate_dataplane::{AttachMode, attach};
use sixgate_tests::{
    gate::{self, Need},
    packet::{
        Checksum, GATE_MAC, Packet,
        answer::Answer,
        tcp::{ACK, PSH, RST, SYN},
    },
    timeouts::patience,
};

use crate::{
    answers::session::{CLIENT, about, table, text},
    host::Host,
    program::{ENFORCE, OURS},
};

const NEEDS: &[Need] =
    &[Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ip"), Need::Device("/dev/net/tun")];

/// A tap device, from the guest's side.
struct Tap(File);

impl Tap {
    /// Makes `tap0` in the network namespace of `host`.
    fn new(host: &Host) -> Self {
        let file = host.ours.run(|| {
            let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
            let mut request = [0_u8; 40];
            request[..4].copy_from_slice(b"tap0");
            request[16..18].copy_from_slice(&(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR).to_ne_bytes());
            // SAFETY: the request is as long as `struct ifreq`, and the kernel keeps no pointer to
            // it.
            let made = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, request.as_mut_ptr()) };
            assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
            // SAFETY: this request takes a number.
            let set = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETOFFLOAD, TUN_F_CSUM) };
            assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
            file
        });
        let [a, b, c, d, e, f] = GATE_MAC;
        host.ours
            .ip(&format!("link set tap0 address {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} up"))
            .unwrap();
        host.ours.ip(&format!("address add {OURS}/128 dev tap0 nodad")).unwrap();
        host.ours.ip(&format!("route add {CLIENT}/128 dev tap0")).unwrap();
        host.ours.ip(&format!("neighbour add {CLIENT} lladdr 02:00:00:00:00:02 dev tap0")).unwrap();
        Self(file)
    }

    /// Sends a packet; a checksum that is unfinished is announced.
    fn send(&mut self, packet: &Packet, is_unfinished: bool) {
        let tcp = u16::try_from(packet.tcp_offset()).unwrap();
        let mut octets = vec![0; HEADER];
        if is_unfinished {
            octets[0] = NEEDS_CSUM;
            octets[6..8].copy_from_slice(&tcp.to_ne_bytes());
            octets[8..10].copy_from_slice(&16_u16.to_ne_bytes());
        }
        octets.extend(packet.build());
        self.0.write_all(&octets).unwrap();
    }

    /// What comes back to `packet`.
    fn receive(&mut self, packet: &Packet) -> Answer {
        Answer::read(&self.receive_frame(), packet)
    }

    /// The next frame with a TCP segment; its checksum is finished where the header requires it.
    fn receive_frame(&mut self) -> Vec<u8> {
        let until = Instant::now() + patience();
        loop {
            let left = until.checked_duration_since(Instant::now()).expect("no answer in time");
            let mut ready = [PollFd::new(std::os::fd::AsFd::as_fd(&self.0), PollFlags::POLLIN)];
            poll(&mut ready, PollTimeout::try_from(left).unwrap()).unwrap();
            let mut octets = vec![0; 2048];
            let length = self.0.read(&mut octets).unwrap();
            let (header, frame) = octets[..length].split_at_mut(HEADER);
            // the host sends packets of its own, such as router solicitations
            if frame.len() < 74 || frame[20] != 6 {
                continue;
            }
            if header[0] & NEEDS_CSUM != 0 {
                let number = |at: usize| usize::from(u16::from_ne_bytes([header[at], header[at + 1]]));
                let (start, at) = (number(6), number(6) + number(8));
                let sum = frame[start..].chunks(2).fold(0_u32, |sum, pair| {
                    sum + u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))
                });
                let folded = (sum & 0xffff) + (sum >> 16);
                let folded = (folded & 0xffff) + (folded >> 16);
                let field = !u16::try_from(folded).unwrap();
                frame[at..at + 2].copy_from_slice(&field.to_be_bytes());
            }
            return frame.to_vec();
        }
    }
}

#[test]
fn a_guest_with_checksum_offload_is_answered_rightly_or_by_the_host() {
    if !gate::require(NEEDS) {
        return;
    }
    for (mode, checksum, is_answered) in [
        (AttachMode::Native, Checksum::Full, true),
        (AttachMode::Native, Checksum::Partial, true),
        (AttachMode::Generic, Checksum::Full, true),
        (AttachMode::Generic, Checksum::Partial, false),
    ] {
        let host = Host::new();
        let mut tap = Tap::new(&host);
        let mut plan = host.plan(&["tap0"]);
        plan.mode = mode;
        plan.settings = Settings { answer: ANSWER_KERNEL, ..ENFORCE };
        plan.replies = compile_replies(&table());
        host.ours.run(|| attach(&plan)).unwrap();
        let count =
            |stat| host.maps().stats().unwrap().into_iter().find(|(known, _)| *known == stat).unwrap().1;
        let is_unfinished = checksum == Checksum::Partial;
        let syn = Packet::syn().source(CLIENT).destination(OURS).checksum(checksum);
        tap.send(&syn, is_unfinished);
        if !is_answered {
            // no daemon listens here, so the host resets
            let frame = tap.receive_frame();
            assert_ne!(frame[TCP_FLAGS] & RST, 0, "{mode:?} {checksum:?}");
            assert_eq!((count(Stat::PassUnfinished), count(Stat::AnswerSyn)), (1, 0));
            continue;
        }
        let answer = tap.receive(&syn);
        assert_eq!(answer.flags, SYN | ACK, "{mode:?} {checksum:?}");
        let (mut at, mut ack) = (answer.acknowledgment, answer.sequence.wrapping_add(1));
        let long = format!("{}.example", ["d".repeat(50), "d".repeat(50)].join("."));
        for (line, wanted) in [
            (String::new(), text(ReplyId::Greeting)),
            ("EHLO a.example\r\n".to_owned(), text(ReplyId::Ehlo)),
            ("MAIL FROM:<a@a.example>\r\n".to_owned(), text(ReplyId::Mail)),
            ("RCPT TO:<u@contoso.com>\r\n".to_owned(), about(ReplyId::NotOptedIn, "contoso.com")),
            (format!("RCPT TO:<u@{long}>\r\n"), about(ReplyId::NotOptedIn, &long)),
            ("QUIT\r\n".to_owned(), text(ReplyId::Quit)),
        ] {
            let flags = if line.is_empty() { ACK } else { PSH | ACK };
            let packet = syn.clone().flags(flags).sequence(at).acknowledgment(ack).data(line.as_bytes());
            tap.send(&packet, is_unfinished);
            let answer = tap.receive(&packet);
            assert_eq!(String::from_utf8_lossy(&answer.data), wanted, "{mode:?} {checksum:?}");
            at = answer.acknowledgment;
            ack = ack.wrapping_add(u32::try_from(answer.data.len()).unwrap());
        }
        assert_eq!(count(Stat::AnswerReply), 5);
    }
}

/// Octets of `struct virtio_net_hdr`.
const HEADER: usize = 10;
/// Where the control bits are in a frame without VLAN tags and extension headers.
const TCP_FLAGS: usize = 14 + 40 + 13;
/// Flag `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the receiver has to finish the checksum.
const NEEDS_CSUM: u8 = 1;
// include/uapi/linux/if_tun.h
const IFF_TAP: u16 = 0x0002;
const IFF_NO_PI: u16 = 0x1000;
const IFF_VNET_HDR: u16 = 0x4000;
const TUN_F_CSUM: libc::c_ulong = 1;
const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
