//! At which MAC addresses the host is reached by each interface that the program runs on, and where
//! the program may answer: what STATIONS holds.
//!
//! Fallback reasons are `fallback_reason`'s, MAC addresses `topology`'s.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    attached::InterfaceCache,
    error::DataplaneError,
    fallback_reason::Outlook,
    maps::Maps,
    stations::{Marks, Station, StationUse},
    topology::{LinkKind, Topology},
};

/// What STATIONS is to hold while the program runs on these interfaces.
pub(super) fn wanted(outlooks: &BTreeMap<u32, Outlook>, network: &Topology) -> BTreeMap<Station, StationUse> {
    let stations = outlooks.iter().flat_map(|(ifindex, outlook)| {
        stations(*ifindex, network).into_iter().map(move |station| {
            let kind = network.get(station.ifindex).map(|link| link.kind);
            let marks = match kind {
                _ if outlook.generic => Marks::Kept,
                Some(LinkKind::Veth) => Marks::Lost,
                _ => Marks::Unknown,
            };
            let answers = outlook.fallback_reason.is_none();
            (station, StationUse { answers, marks, peer: outlook.peer })
        })
    });
    stations.collect()
}

/// The MAC addresses to be taken for this host's while the program runs on one interface.
fn stations(ifindex: u32, network: &Topology) -> Vec<Station> {
    let macs = network.macs(ifindex);
    let receivers = network.receivers(ifindex).into_iter();
    receivers.flat_map(|link| macs.iter().map(|mac| Station { ifindex: link.index, mac: *mac })).collect()
}

/// Other ends that this process may not look at are those that were found before: the process that
/// attached may have had the right.
fn keeping_peers(
    mut wanted: BTreeMap<Station, StationUse>,
    known: &BTreeMap<Station, StationUse>,
) -> BTreeMap<Station, StationUse> {
    for (station, what) in &mut wanted {
        what.peer = what.peer.or_else(|| known.get(station).and_then(|known| known.peer));
    }
    wanted
}

impl Maps {
    /// Lets the program take frames for these interfaces, which it does not run on yet, and not
    /// answer there yet: what keeps it from that is seen once it runs.
    pub(super) fn expect(
        &mut self,
        indices: &BTreeSet<u32>,
        network: &Topology,
    ) -> Result<(), DataplaneError> {
        let mut stations = self.stations()?;
        for ifindex in indices {
            for station in self::stations(*ifindex, network) {
                stations.entry(station).or_insert(NOTHING_YET);
            }
        }
        self.set_stations(&stations)
    }

    /// Whether STATIONS holds what [`Self::review_stations`] would make it hold.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`], [`DataplaneError::System`].
    pub fn has_stations(
        &self,
        outlooks: &BTreeMap<u32, Outlook>,
        network: &mut InterfaceCache,
    ) -> Result<bool, DataplaneError> {
        let stations = self.stations()?;
        Ok(stations == keeping_peers(wanted(outlooks, network.all()?), &stations))
    }

    /// Lets the program take frames for the interfaces that it runs on, and answer where nothing
    /// keeps it from that.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`], [`DataplaneError::System`].
    pub fn review_stations(
        &mut self,
        outlooks: &BTreeMap<u32, Outlook>,
        network: &mut InterfaceCache,
    ) -> Result<(), DataplaneError> {
        let stations = self.stations()?;
        let wanted = keeping_peers(wanted(outlooks, network.all()?), &stations);
        if stations == wanted { Ok(()) } else { self.set_stations(&wanted) }
    }
}

/// The rights of the program on an interface that it does not run on yet.
const NOTHING_YET: StationUse = StationUse { answers: false, marks: Marks::Unknown, peer: None };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fallback_reason::FallbackReason,
        topology::{LinkFacts, LinkKind},
    };

    #[test]
    fn an_interface_is_reached_by_its_masters_too_and_replies_unless_blocked() {
        let mac = |last| [2, 0, 0, 0, 0, last];
        let link =
            |index, master| LinkFacts { index, master, mac: Some(mac(index as u8)), ..LinkFacts::default() };
        let network: Topology =
            [link(7, Some(9)), link(8, Some(9)), link(9, None), link(10, None)].into_iter().collect();
        let fallback_reason = FallbackReason::Kernel { refusal: "x".to_owned() };
        let peer = Some(mac(0x77));
        let outlook = |fallback_reason, generic, peer| Outlook { fallback_reason, generic, peer };
        let outlooks = BTreeMap::from([
            (7, outlook(None, true, peer)),
            (8, outlook(Some(fallback_reason), false, None)),
            (99, outlook(None, false, None)),
        ]);
        let answers = StationUse { answers: true, marks: Marks::Kept, peer };
        let passes = StationUse { answers: false, marks: Marks::Unknown, peer: None };
        let station = |ifindex, last| Station { ifindex, mac: mac(last) };
        let wanted_stations = BTreeMap::from([
            (station(7, 7), answers),
            (station(7, 9), answers),
            (station(8, 8), passes),
            (station(8, 9), passes),
        ]);
        assert_eq!(wanted(&outlooks, &network), wanted_stations);
    }

    #[test]
    fn a_peer_that_cannot_be_looked_at_stays_the_one_that_was_found() {
        let station = Station { ifindex: 7, mac: [2; 6] };
        let with = |peer| BTreeMap::from([(station, StationUse { answers: true, marks: Marks::Kept, peer })]);
        let (found, other) = (Some([3; 6]), Some([4; 6]));
        assert_eq!(keeping_peers(with(None), &with(found)), with(found));
        assert_eq!(keeping_peers(with(other), &with(found)), with(other));
        assert_eq!(keeping_peers(with(None), &BTreeMap::new()), with(None));
    }

    #[test]
    fn only_native_mode_on_a_veth_is_known_to_lose_marks() {
        let link = |index, kind, master| LinkFacts {
            index,
            kind,
            master,
            mac: Some([2, 0, 0, 0, 0, index as u8]),
            ..LinkFacts::default()
        };
        let network: Topology = [
            link(7, LinkKind::Veth, None),
            link(8, LinkKind::Other, None),
            link(9, LinkKind::Bond, None),
            link(10, LinkKind::Veth, Some(9)),
        ]
        .into_iter()
        .collect();
        for (ifindex, generic, wanted_marks) in [
            (7, false, &[(7, Marks::Lost)][..]),
            (7, true, &[(7, Marks::Kept)]),
            (8, false, &[(8, Marks::Unknown)]),
            (8, true, &[(8, Marks::Kept)]),
            (9, false, &[(9, Marks::Unknown), (10, Marks::Lost)]),
            (9, true, &[(9, Marks::Kept), (10, Marks::Kept)]),
        ] {
            let outlook = Outlook { fallback_reason: None, generic, peer: None };
            let found = wanted(&BTreeMap::from([(ifindex, outlook)]), &network);
            let marks: Vec<_> = found.iter().map(|(station, what)| (station.ifindex, what.marks)).collect();
            assert_eq!(marks, wanted_marks, "{ifindex} {generic}");
        }
    }

    #[test]
    fn a_bond_is_reached_by_its_ports_and_a_bridge_is_not() {
        let mac = |last| [2, 0, 0, 0, 0, last];
        let port = |index| LinkFacts { index, master: Some(9), mac: Some(mac(9)), ..LinkFacts::default() };
        for (kind, wanted_indices) in [
            (LinkKind::Bond, &[7, 8, 9][..]),
            (LinkKind::Bridge { filters_vlans: false }, &[9]),
            (LinkKind::Other, &[9]),
        ] {
            let master = LinkFacts { index: 9, kind, mac: Some(mac(9)), ..LinkFacts::default() };
            let network: Topology = [port(7), port(8), master].into_iter().collect();
            let outlook = Outlook { fallback_reason: None, generic: false, peer: None };
            let found = wanted(&BTreeMap::from([(9, outlook)]), &network);
            let indices: Vec<u32> = found.keys().map(|station| station.ifindex).collect();
            assert_eq!(indices, wanted_indices, "{kind:?}");
            assert!(found.iter().all(|(station, what)| station.mac == mac(9) && what.answers));
        }
    }
}
