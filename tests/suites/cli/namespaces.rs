//! Attaching inside a network namespace that has a name: what `ip netns exec` takes away again, and
//! what stays.

use std::{fs, process::Command};

use sixgate_tests::{
    bpffs::Bpffs,
    daemon::binary,
    gate::{self, Need},
    netns::Netns,
};

use crate::installation::{Installation, Ran, ran};

const NEEDS: [Need; 5] = [Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ip"), Need::Program("nsenter")];
const NAME: &str = "sixgate-cli-named";

#[test]
fn attaching_by_ip_netns_exec_is_warned_of_where_the_pins_vanish_with_it() {
    if !gate::require(&NEEDS) {
        return;
    }
    let (ours, peer) = (Netns::named(NAME).unwrap(), Netns::new().unwrap());
    ours.join("v0", &peer, "v1").unwrap();
    let has_xdp = || ours.ip("link show v0").unwrap().contains("xdp");
    let place = Installation::new();
    let bpffs = Bpffs::new().unwrap();
    let attach = format!("{} --config {} attach --iface v0", binary().display(), place.config().display());
    let exec = |script: &str| -> Ran {
        // with a process 1 that may be looked at
        let outer = format!("ip netns exec {NAME} sh -c '{script}'; exit $?");
        let unshare = ["--fork", "--pid", "--mount-proc", "--propagation", "unchanged", "sh", "-c", &outer];
        ran(Command::new("unshare").args(unshare).output().unwrap())
    };
    let wanted = format!("use `nsenter --net=/run/netns/{NAME} sixgate attach` instead");

    // a bpffs that is mounted inside
    let inside = place.path("inside");
    fs::create_dir(&inside).unwrap();
    place.configure("", &inside, "");
    let ended = exec(&format!("mount -t bpf bpf {} && {attach}", inside.display()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.messages.contains(&wanted), "{ended:?}");
    let ended = exec(&attach);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.messages.contains("no bpffs at"), "{ended:?}");

    // one that was mounted before is everybody's
    place.configure("", &bpffs.pins(), "");
    let ended = exec(&attach);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.messages.contains("nsenter") && has_xdp(), "{ended:?}");

    // as the warning advises
    let net = format!("--net=/run/netns/{NAME}");
    let words: Vec<&str> = attach.split(' ').collect();
    let ended = ran(Command::new("nsenter").arg(net).args(words).output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.messages.contains("nsenter") && has_xdp(), "{ended:?}");
}
