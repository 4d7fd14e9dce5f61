//! The traced program instead of the ordinary one: loaded with the same pinned maps, given to each
//! link at once, and read through aya-log.
//!
//! It takes no lock by itself and waits for no record: the caller holds the lock on the maps while
//! one program replaces the other, and asks for records again and again. It forms no text.

use std::{
    collections::BTreeMap,
    net::{Ipv6Addr, SocketAddrV6},
    sync::{Arc, Mutex, PoisonError},
};

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray},
    programs::Xdp,
};
use aya_log::EbpfLogger;
use aya_obj::programs::XdpAttachType;
use ipnet::Ipv6Net;
use log::{Log, Metadata, Record};
use sixgate_common::{
    refuse::Reason,
    stat::Stat,
    trace::{self, TraceFilter, TraceRecord},
};

use super::{
    attach::replace,
    attached::{self, Pinned},
    error::DataplaneError,
    interface,
    loader::Loader,
    maps::Maps,
    object,
    pins::{PinSet, Pins},
};

/// One segment to port 25, and what the program did with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TracedSegment {
    /// When, nanoseconds of CLOCK_MONOTONIC.
    pub at: u64,
    /// The name of the interface that it came in by; its number if that is gone.
    pub interface: String,
    /// Address and port of the sender.
    pub source: SocketAddrV6,
    /// Address and port that it sent to.
    pub destination: SocketAddrV6,
    /// The control bits of its TCP header (RFC 9293 3.1).
    pub flags: u8,
    /// Its sequence number.
    pub sequence: u32,
    /// Its acknowledgment number.
    pub acknowledgment: u32,
    /// Octets of payload.
    pub length: u32,
    /// The program's action on the segment.
    pub outcome: SegmentOutcome,
    /// The counter that was raised for it.
    pub stat: Stat,
    /// Why its session is refused, if it is.
    pub reason: Option<Reason>,
}

/// The program's action on a segment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SegmentOutcome {
    /// It went on to the host's TCP.
    Passed,
    /// It was dropped.
    Dropped,
    /// It was answered.
    Answered {
        /// The control bits of the answer.
        flags: u8,
        /// The code of the reply that it carries; none without a reply.
        reply: Option<String>,
    },
}

/// The traced program. Dropped while links run it, they go on doing so: [`Self::stop`] gives them
/// the ordinary one.
pub struct Trace {
    object: Ebpf,
    /// Its id, and that of the program that it replaces.
    program: u32,
    ordinary: u32,
    logger: EbpfLogger<Records>,
    records: Records,
    matched: PerCpuArray<MapData, u64>,
    maps: Maps,
    names: BTreeMap<u32, String>,
    pins: Pins,
}

impl Trace {
    /// Loads the traced program for segments whose source and destination lie in these prefixes.
    /// Nothing is changed yet. A verifier may work for seconds.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NothingAttached`], [`DataplaneError::NoProgram`],
    /// [`DataplaneError::KernelLacks`], [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn load(
        pins: &Pins,
        loader: &Loader,
        source: Ipv6Net,
        destination: Ipv6Net,
    ) -> Result<Self, DataplaneError> {
        let live = pins.live()?.ok_or(DataplaneError::NothingAttached)?;
        let (ordinary, _) =
            object::pinned_program(&live.program())?.ok_or(DataplaneError::NothingAttached)?;
        let maps = Maps::open_set(&live)?;
        let answers = loader.embedded()?.fallback_reason.is_none();
        let filter = filter(source, destination);
        let mut object = object::load_traced(|name| Some(live.map(name)), answers, &filter)?;
        let program = object::program(&mut object)?.info();
        let program =
            program.map_err(|error| DataplaneError::aya("examine the traced XDP program", error))?.id();
        let records = Records::default();
        let logger = EbpfLogger::init_with_logger(&mut object, records.clone())
            .map_err(|error| DataplaneError::aya("open the ring buffer of the traced XDP program", error))?;
        let matched = object
            .take_map(trace::MATCHED)
            .ok_or_else(|| DataplaneError::Damaged { reason: format!("it has no map {}", trace::MATCHED) })?;
        let matched =
            matched.try_into().map_err(|error| DataplaneError::map("open", trace::MATCHED, error))?;
        let names = BTreeMap::new();
        Ok(Self { object, program, ordinary, logger, records, matched, maps, names, pins: pins.clone() })
    }

    /// Gives the traced program to each link that runs the ordinary one, without a gap; the names
    /// of the interfaces. The caller holds the lock on the maps.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NothingAttached`], [`DataplaneError::AttachedAnew`],
    /// [`DataplaneError::System`]; the ordinary program runs everywhere then, as far as that can be
    /// put back.
    pub fn start(&mut self) -> Result<Vec<String>, DataplaneError> {
        let live = self.pins.live()?.ok_or(DataplaneError::NothingAttached)?;
        let pinned = object::pinned_program(&live.program())?;
        if pinned.is_none_or(|(program, _)| program != self.ordinary) {
            return Err(DataplaneError::AttachedAnew);
        }
        let mut names = Vec::new();
        for link in running(&live, self.ordinary)? {
            let replaced = replace(object::program(&mut self.object)?, &link).inspect_err(|_| {
                // The first error is the one to tell.
                let _ = self.stop();
            })?;
            if replaced {
                names.push(link.link.interface.clone());
                self.names.extend(link.link.running.map(|at| (at.index, link.link.interface)));
            }
        }
        if names.is_empty() { Err(DataplaneError::NothingAttached) } else { Ok(names) }
    }

    /// Whether a link still runs the traced program: attaching and detaching take it away.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn is_running(&self) -> Result<bool, DataplaneError> {
        match self.pins.own()? {
            Some(live) => Ok(!running(&live, self.program)?.is_empty()),
            None => Ok(false),
        }
    }

    /// Gives each link that runs the traced program the pinned one, without a gap. The caller holds
    /// the lock on the maps.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::NoRights`], [`DataplaneError::System`].
    pub fn stop(&self) -> Result<(), DataplaneError> {
        let Some(live) = self.pins.own()? else {
            return Ok(());
        };
        let links = running(&live, self.program)?;
        if links.is_empty() {
            return Ok(());
        }
        let file = live.program();
        let mut ordinary = Xdp::from_pin(&file, XdpAttachType::Interface)
            .map_err(|error| DataplaneError::aya(format!("open {}", file.display()), error))?;
        links.iter().try_for_each(|link| replace(&mut ordinary, link).map(drop))
    }

    /// The segments that were logged since the last call, in the order of the ring buffer.
    pub fn take(&mut self) -> Vec<TracedSegment> {
        self.logger.flush();
        let records = self.records.take();
        records.iter().filter_map(|record| self.segment(record)).collect()
    }

    /// How many segments have matched until now, logged or not.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn matched(&self) -> Result<u64, DataplaneError> {
        let values = self.matched.get(&0, 0);
        let values = values.map_err(|error| DataplaneError::map("read", trace::MATCHED, error))?;
        Ok(values.iter().sum())
    }

    /// None where the program logged what this build does not know, which does not happen: both are
    /// of one build.
    fn segment(&mut self, record: &TraceRecord) -> Option<TracedSegment> {
        let stat = *Stat::ALL.get(usize::from(record.stat))?;
        let outcome = match record.action {
            TraceRecord::PASS => SegmentOutcome::Passed,
            TraceRecord::DROP => SegmentOutcome::Dropped,
            TraceRecord::TX => {
                SegmentOutcome::Answered { flags: record.answer_flags, reply: self.reply(record.reply) }
            }
            _ => return None,
        };
        let address = |octets: [u8; 16], port: [u8; 2]| {
            SocketAddrV6::new(Ipv6Addr::from(octets), u16::from_be_bytes(port), 0, 0)
        };
        Some(TracedSegment {
            at: record.now,
            interface: self.name(record.interface),
            source: address(record.source, record.source_port),
            destination: address(record.destination, record.destination_port),
            flags: record.flags,
            sequence: record.sequence,
            acknowledgment: record.acknowledgment,
            length: record.payload,
            outcome,
            stat,
            reason: Reason::from_number(record.reason),
        })
    }

    fn reply(&self, index: u32) -> Option<String> {
        let reply = self.maps.reply_at(index).ok().filter(|_| index != TraceRecord::NO_REPLY)?;
        let text = String::from_utf8_lossy(reply.text.get(..CODE_LENGTH.min(reply.length.into()))?);
        Some(text.into_owned())
    }

    fn name(&mut self, index: u32) -> String {
        let look = || interface::indexed(index).ok().flatten().map(|facts| facts.name);
        let name = self.names.entry(index).or_insert_with(|| look().unwrap_or_else(|| index.to_string()));
        name.clone()
    }
}

/// The links that run a program on an interface of this network namespace.
fn running(live: &PinSet, program: u32) -> Result<Vec<Pinned>, DataplaneError> {
    let links = attached::pinned(live)?.into_iter();
    Ok(links.filter(|link| link.link.running.is_some() && link.state.program == program).collect())
}

fn filter(source: Ipv6Net, destination: Ipv6Net) -> TraceFilter {
    TraceFilter {
        source: in_u64s(source.network()),
        source_mask: in_u64s(source.netmask()),
        destination: in_u64s(destination.network()),
        destination_mask: in_u64s(destination.netmask()),
    }
}

/// An address as two u64 in network order.
fn in_u64s(address: Ipv6Addr) -> [u64; 2] {
    let bits = address.to_bits();
    [((bits >> 64) as u64).to_be(), (bits as u64).to_be()]
}

/// Takes what aya-log has read: each record is the octets of a [`TraceRecord`] in hexadecimal.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<TraceRecord>>>);

impl Records {
    fn take(&self) -> Vec<TraceRecord> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Log for Records {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let Some(record) = from_hexadecimal(&record.args().to_string()) else {
            return;
        };
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // what comes while one CPU reads is bounded by the limit in the program, and by this
        if records.len() < RECORDS_MAX {
            records.push(record);
        }
    }

    fn flush(&self) {}
}

fn from_hexadecimal(text: &str) -> Option<TraceRecord> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let mut octets = [0; TraceRecord::LENGTH];
    if pairs.len() != octets.len() {
        return None;
    }
    for (octet, pair) in octets.iter_mut().zip(pairs) {
        *octet = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(TraceRecord::from_octets(octets))
}

/// Octets of a reply's code.
const CODE_LENGTH: usize = 3;
/// Records that are taken at a time; more are lost, and told as lines that were suppressed.
const RECORDS_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_from_its_digits_and_nothing_else_is() {
        let record = TraceRecord { sequence: 0xfedc_ba98, stat: 7, ..TraceRecord::EMPTY };
        let digits: String = record.octets().iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(from_hexadecimal(&digits), Some(record));
        for wrong in ["", "00", &digits[1..], &digits[2..], &format!("{digits}00"), &digits.replace('f', "é")]
        {
            assert_eq!(from_hexadecimal(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_filter_has_the_integers_that_the_program_compares() {
        let address = |text: &str| {
            let octets = text.parse::<Ipv6Addr>().unwrap().octets();
            let (high, low) = octets.split_at(8);
            [high, low].map(|part| u64::from_ne_bytes(part.try_into().unwrap()))
        };
        let filter = filter("2001:db8:51::/48".parse().unwrap(), "::/0".parse().unwrap());
        assert!(filter.matches(address("2001:db8:51::4"), address("2001:db8:25::1")));
        assert!(!filter.matches(address("2001:db8:52::4"), address("2001:db8:25::1")));
    }

    #[test]
    fn only_the_traced_object_logs() {
        let logs = |object: &[u8]| object.windows(8).any(|octets| octets == b"AYA_LOGS");
        let (ordinary, traced) = (object::embedded_object(), object::embedded_traced_object());
        assert!(!logs(ordinary) && !ordinary.windows(6).any(|octets| octets == b"TRACE_"));
        assert!(logs(traced) || traced.is_empty());
    }
}
