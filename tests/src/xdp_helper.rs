//! The helper programs of `tests/ebpf`, as handles: a peer that passes everything on, a link that
//! loses packets, a driver with little headroom.
//!
//! It attaches them and counts what they dropped; dropping a handle detaches. Their use is the
//! suites' business.

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, MapData, PerCpuArray, ProgramArray},
    programs::{ProgramFd, ProgramInfo, SchedClassifier, TcAttachType, Xdp, XdpMode},
};

use nix::net::if_::if_nametoindex;

use crate::netns::Netns;

#[path = "../ebpf/src/rate.rs"]
mod rate;

/// The program that passes everything on, attached. Dropping it detaches.
///
/// The peer of a veth whose program answers by XDP_TX in native mode needs it in native mode:
/// without a program there, the kernel never delivers the answers.
#[derive(Debug)]
pub struct Pass {
    object: Ebpf,
}

impl Pass {
    /// Attaches it to `interface` of `netns`.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN and CAP_BPF, or if the interface or its driver refuses.
    pub fn attach(netns: &Netns, interface: &str, mode: XdpMode) -> Result<Self> {
        let mut object = load()?;
        attach(&mut object, PASS, netns, interface, mode)?;
        Ok(Self { object })
    }

    /// The kernel's facts about the program: its run time, for one thing.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn info(&self) -> Result<ProgramInfo> {
        let program = self.object.program(PASS).with_context(|| format!("no program {PASS}"))?;
        let program: &Xdp = program.try_into()?;
        Ok(program.info()?)
    }
}

/// A link that loses packets from and to TCP port 25 over IPv6 by chance, in both directions.
/// Dropping it repairs the link. It passes on the rest, so that a native one is as good as
/// [`Pass`].
#[derive(Debug)]
pub struct Lossy {
    object: Ebpf,
}

/// How many packets a [`Lossy`] dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Drops {
    /// On their way in.
    pub incoming: u64,
    /// On their way out.
    pub outgoing: u64,
}

impl Lossy {
    /// Makes `interface` of `netns` lose `per_mille` of 1000 packets, each way.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN and CAP_BPF, or if the interface or its driver refuses.
    pub fn attach(netns: &Netns, interface: &str, mode: XdpMode, per_mille: u32) -> Result<Self> {
        let mut lossy = Self { object: load()? };
        lossy.set(per_mille)?;
        attach(&mut lossy.object, LOSSY, netns, interface, mode)?;
        let program: &mut SchedClassifier = lossy
            .object
            .program_mut(LOSSY_OUT)
            .with_context(|| format!("no program {LOSSY_OUT}"))?
            .try_into()?;
        program.load().with_context(|| format!("cannot load {LOSSY_OUT}"))?;
        netns
            .run(|| program.attach(interface, TcAttachType::Egress))
            .with_context(|| format!("cannot attach {LOSSY_OUT} to {interface}"))?;
        Ok(lossy)
    }

    /// Changes the rate: from now on `per_mille` of 1000 packets get lost, each way.
    ///
    /// # Errors
    /// If the rate is above 1000, or the kernel refuses.
    pub fn set(&mut self, per_mille: u32) -> Result<()> {
        ensure!(per_mille <= rate::LOSS_WHOLE, "{per_mille} of {} packets", rate::LOSS_WHOLE);
        let map = self.object.map_mut("LOSS").context("no map LOSS")?;
        let mut rate: Array<&mut MapData, u32> = map.try_into()?;
        rate.set(0, per_mille, 0).context("cannot set the loss")
    }

    /// The packets dropped so far.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn drops(&self) -> Result<Drops> {
        let counters: PerCpuArray<&MapData, u64> =
            self.object.map("DROPS").context("no map DROPS")?.try_into()?;
        let sum = |index| -> Result<u64> { Ok(counters.get(&index, 0)?.iter().sum()) };
        Ok(Drops { incoming: sum(rate::DROPS_IN)?, outgoing: sum(rate::DROPS_OUT)? })
    }
}

/// A driver that leaves frames little headroom: the program that runs before the one under test.
pub struct Narrow {
    object: Ebpf,
    _next: ProgramArray<MapData>,
}

impl Narrow {
    /// Moves each frame `octets` towards the front of its buffer, a multiple of four, and hands it
    /// to `next`.
    ///
    /// # Errors
    /// Without CAP_BPF, or if the kernel refuses.
    pub fn before(next: &ProgramFd, octets: u32) -> Result<Self> {
        let mut object = load()?;
        program(&mut object, NARROW)?;
        let mut moved: Array<&mut MapData, u32> =
            object.map_mut("MOVED").context("no map MOVED")?.try_into()?;
        moved.set(0, octets, 0).context("cannot set the octets")?;
        let mut array: ProgramArray<MapData> = object.take_map("NEXT").context("no map NEXT")?.try_into()?;
        array.set(0, next, 0).context("cannot set the program behind")?;
        Ok(Self { object, _next: array })
    }

    /// The program to run.
    ///
    /// # Errors
    /// If the object lacks it.
    pub fn xdp(&mut self) -> Result<&mut Xdp> {
        let program = self.object.program_mut(NARROW).with_context(|| format!("no program {NARROW}"))?;
        Ok(program.try_into()?)
    }

    /// Attaches it to `interface` of `netns`, natively.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, or if the interface or its driver refuses.
    pub fn attach(&mut self, netns: &Netns, interface: &str) -> Result<()> {
        let program = self.xdp()?;
        netns
            .run(|| program.attach(interface, XdpMode::Driver))
            .map(drop)
            .with_context(|| format!("cannot attach {NARROW} to {interface}"))
    }
}

/// A switch before two gates: each packet of the client goes to the other gate than the one before.
pub struct Spray {
    _object: Ebpf,
}

impl Spray {
    /// Joins three interfaces of `netns`: the client's, and one for each gate. In native mode the
    /// other end of each link needs a program in native mode, too.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN and CAP_BPF, or if an interface is missing or refuses.
    pub fn attach(netns: &Netns, ports: [&str; 3], mode: XdpMode) -> Result<Self> {
        let mut object = load()?;
        let mut indices: Array<&mut MapData, u32> =
            object.map_mut("PORTS").context("no map PORTS")?.try_into()?;
        for (number, port) in (0..).zip(ports) {
            let index = netns.run(|| if_nametoindex(port)).with_context(|| format!("no interface {port}"))?;
            indices.set(number, index, 0).context("cannot set a port")?;
        }
        let program = program(&mut object, SPRAY)?;
        for port in ports {
            netns
                .run(|| program.attach(port, mode))
                .with_context(|| format!("cannot attach {SPRAY} to {port}"))?;
        }
        Ok(Self { _object: object })
    }
}

/// The helper programs' object (ELF, `bpfel`); empty in a build with `AYA_BUILD_SKIP=1`.
pub static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/helpers.bpf.o"));

/// The program that passes everything on.
pub const PASS: &str = "pass";
const NARROW: &str = "narrow";
const LOSSY: &str = "lossy";
const SPRAY: &str = "spray";
const LOSSY_OUT: &str = "lossy_out";
/// Maps that only a bench needs in their full size.
const LARGE: [&str; 4] = ["SLOTS", "NOTES", "PARTS_MANY", "ROTATED"];

fn load() -> Result<Ebpf> {
    loader().load(OBJECT).context("cannot load the helper programs")
}

/// A loader that makes the maps of a bench as small as can be.
pub fn loader() -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    for map in LARGE {
        loader.map_max_entries(map, 1);
    }
    loader
}

/// The XDP program `name` of `object`, handed to the kernel.
///
/// # Errors
/// `object` has no such program, or the kernel refuses it.
pub fn program<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = object.program_mut(name).with_context(|| format!("no program {name}"))?;
    let program: &mut Xdp = program.try_into()?;
    program.load().with_context(|| format!("cannot load {name}"))?;
    Ok(program)
}

fn attach(object: &mut Ebpf, name: &str, netns: &Netns, interface: &str, mode: XdpMode) -> Result<()> {
    let program = program(object, name)?;
    netns
        .run(|| program.attach(interface, mode))
        .map(drop)
        .with_context(|| format!("cannot attach {name} to {interface}"))
}

#[cfg(test)]
mod tests {
    use aya::{TestRunOptions, programs::TestRun as _};

    use super::*;
    use crate::{
        gate::{self, Need},
        packet::Packet,
    };

    const NEEDS: &[Need] = &[Need::Root, Need::Program("ip"), Need::Xdp];
    const RUNS: u32 = 20_000;

    fn link() -> (Netns, Netns) {
        let (near, far) = (Netns::new().unwrap(), Netns::new().unwrap());
        near.join("near0", &far, "far0").unwrap();
        (near, far)
    }

    #[test]
    fn a_lossy_link_loses_its_part_of_smtp_each_way_and_nothing_else() {
        if !gate::require(NEEDS) {
            return;
        }
        let (near, _far) = link();
        let mut lossy = Lossy::attach(&near, "near0", XdpMode::Driver, 100).unwrap();
        // a tenth, give or take more than six standard deviations
        let tenth = u64::from(RUNS / 10 - 300)..u64::from(RUNS / 10 + 300);
        for (packet, smtp) in [
            (Packet::syn(), true),
            (Packet::syn().source_port(25).destination_port(40_000), true),
            (Packet::syn().destination_port(26), false),
            (Packet::udp(), false),
            (Packet::syn().ether_type(0x0800), false),
        ] {
            let frame = packet.build();
            let run = || TestRunOptions { data_in: Some(&frame), repeat: RUNS, ..Default::default() };
            let before = lossy.drops().unwrap();
            let incoming: &mut Xdp = lossy.object.program_mut(LOSSY).unwrap().try_into().unwrap();
            incoming.test_run(run()).unwrap();
            let outgoing: &mut SchedClassifier =
                lossy.object.program_mut(LOSSY_OUT).unwrap().try_into().unwrap();
            outgoing.test_run(run()).unwrap();
            let after = lossy.drops().unwrap();
            for dropped in [after.incoming - before.incoming, after.outgoing - before.outgoing] {
                assert!(if smtp { tenth.contains(&dropped) } else { dropped == 0 }, "{packet:?}: {dropped}");
            }
        }
    }

    #[test]
    fn a_program_is_gone_with_its_handle() {
        if !gate::require(NEEDS) {
            return;
        }
        let (near, _far) = link();
        let shown = || near.ip("link show dev near0").unwrap();
        for (mode, word) in [(XdpMode::Driver, " xdp "), (XdpMode::Skb, " xdpgeneric ")] {
            let pass = Pass::attach(&near, "near0", mode).unwrap();
            assert!(shown().contains(word), "{}", shown());
            drop(pass);
            assert!(!shown().contains("xdp"), "{}", shown());
        }
    }
}
