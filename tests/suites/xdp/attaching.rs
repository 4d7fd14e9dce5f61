//! Attaching, replacing and detaching on veth pairs in namespaces of their own.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv6Net;
use sixgate::dataplane::{
    AttachMode, AttachPlan, Change, Maps, OptIn, Pins, Projection, RunMode, Sizes, attach, attached, detach,
    embedded_tag,
};
use sixgate_common::settings::{ANSWER_DAEMON, MODE_ENFORCE, READY, REFUSE_AT_RCPT, Settings};
use sixgate_tests::{
    bpffs::Bpffs,
    gate::{self, Need},
    netns::Netns,
};

const NEEDS: &[Need] = &[Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ip")];

fn prefix(text: &str) -> Ipv6Net {
    text.parse().unwrap()
}

fn plan(interfaces: &[&str], bpffs: &Bpffs) -> AttachPlan {
    AttachPlan {
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        mode: AttachMode::Auto,
        sizes: Sizes { optin: 16, guard: 16, trust: 16, ptr: 16, flows: 16 },
        settings: Settings { mode: MODE_ENFORCE, answer: ANSWER_DAEMON, refuse_at: REFUSE_AT_RCPT, ready: 0 },
        projection: Projection {
            optin: BTreeMap::from([(prefix("2001:db8:1::/48"), OptIn::In)]),
            guard: BTreeSet::from([prefix("2001:db8::/32")]),
            trust: BTreeSet::new(),
        },
        replies: Vec::new(),
        pins: Pins::new(&bpffs.pins()),
    }
}

#[test]
fn a_veth_is_attached_natively_and_detached_without_a_trace() {
    if !gate::require(NEEDS) {
        return;
    }
    let (ours, theirs, bpffs) = (Netns::new().unwrap(), Netns::new().unwrap(), Bpffs::new().unwrap());
    ours.join("gate0", &theirs, "peer0").unwrap();
    let plan = plan(&["gate0"], &bpffs);
    ours.run(|| {
        let done = attach(&plan).unwrap();
        assert_eq!(done.len(), 1);
        assert_eq!((done[0].mode, done[0].change), (RunMode::Native, Change::New));
        let links = attached(&plan.pins).unwrap();
        assert_eq!(links[0].interface, "gate0");
        assert_eq!(links[0].running.unwrap().mode, RunMode::Native);
        assert_eq!(links[0].tag, Some(embedded_tag().unwrap()));
        let maps = Maps::open(&plan.pins).unwrap().unwrap();
        assert_eq!(maps.settings().unwrap().ready, READY);
        assert!(maps.difference(&plan.projection).unwrap().is_empty());
        assert_eq!(detach(&plan.pins, &[]).unwrap(), ["gate0"]);
        assert!(Maps::open(&plan.pins).unwrap().is_none());
        assert!(attached(&plan.pins).unwrap().is_empty());
    });
    assert!(!ours.ip("link show dev gate0").unwrap().contains("xdp"));
}
