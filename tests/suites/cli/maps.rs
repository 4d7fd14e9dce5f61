//! Commands on an attached XDP program: store and maps agree, or the command reports that they
//! differ.
//!
//! Each test has a veth pair, a namespace and a bpffs of its own.

use std::fs;

use serde_json::{Value, json};
use sixgate_common::{
    names::LAYOUT,
    settings::{MODE_ENFORCE, MODE_SHADOW},
    stat::Stat,
};
use sixgate_tests::gate;

use crate::host::{Host, NEEDS, set};

#[test]
fn attach_fills_the_maps_from_the_store_and_detach_leaves_the_store() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new("");
    host.place.done("optin add 2001:db8::/64");
    host.place.done("optin add --out 2001:db8::26");
    host.place.done("trust add 2001:db8:10::/48");
    host.place.done("guard add 2001:db8:25::/64");
    host.place.done("domain add contoso.com");
    assert_eq!(host.place.done("attach --iface v0"), "v0: attached, native mode\n");
    assert_eq!(host.optin(), set(["2001:db8::/64 in", "2001:db8::26/128 out"]));
    assert_eq!(host.place.done("guard list"), "2001:db8::25/128 interface\n2001:db8:25::/64 store\n");
    let status = host.place.json("status --verify");
    let tag = status["embedded_tag"].clone();
    assert!(tag.is_string());
    let wanted = json!({
        "attached": true, "pins_readable": true, "mode": "enforce", "answer": "daemon", "answer_configured": "daemon",
        "answer_fallback": null, "refuse_at": "rcpt", "ready": true,
        "interfaces": [{"name": "v0", "mode": "native", "fallback": null, "tag": tag, "current": true}],
        "embedded_tag": tag,
        "optin": {"wanted": 2, "found": 2},
        "guard": {"wanted": 2, "found": 2},
        "trust": {"wanted": 1, "found": 1},
        "domains": 1, "missing": 0, "surplus": 0, "differences": [],
        "revision": 6, "shown": 6, "is_behind": false,
        "problems": [host.place.daemon_is_down()], "warnings": [],
        "kernel": {"mode": "enforce", "answer": "daemon", "refuse_at": "rcpt"}, "replies_current": true,
        "settings": {
            "mode": {"file": "enforce", "kernel": "enforce", "daemon": null},
            "answer": {"file": "daemon", "kernel": "daemon", "daemon": null},
            "refuse_at": {"file": "rcpt", "kernel": "rcpt", "daemon": null},
            "permanent_refusals": {"file": "", "kernel": null, "daemon": null},
            "temporary_refusals": {"file": "", "kernel": null, "daemon": null},
            "domains": {"file": "listed", "kernel": null, "daemon": null},
        },
        "daemon": null,
    });
    assert_eq!(status, wanted);
    host.place.agrees();

    assert_eq!(host.place.done("detach"), "v0: detached\n");
    assert!(!host.bpffs.pins().join(LAYOUT).exists());
    assert_eq!(host.place.done("optin list"), "2001:db8::/64 in\n2001:db8::26/128 out\n");
    host.place.fails("detach", 1, "nothing is attached");
}

#[test]
fn a_change_is_in_the_maps_when_it_is_reported() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    for (words, wanted) in [
        ("optin add 2001:db8::/64 ::1", set(["2001:db8::/64 in", "::1/128 in"])),
        ("optin add --out ::1", set(["2001:db8::/64 in", "::1/128 out"])),
        ("optin remove --allow-empty 2001:db8::/64", set(["::1/128 out"])),
    ] {
        host.place.done(words);
        assert_eq!(host.optin(), wanted, "{words}");
    }
    host.place.done("guard add 2001:db8:25::/64");
    assert_eq!(host.place.json("status --verify")["guard"], json!({"wanted": 2, "found": 2}));
    host.place.done("trust add 2001:db8:10::/48");
    assert_eq!(host.place.json("status --verify")["trust"], json!({"wanted": 1, "found": 1}));
}

#[test]
fn a_changed_setting_is_in_force_after_attach() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    host.place.done("optin add 2001:db8::/32");
    host.place.configure(
        "mode = \"shadow\"\nrefuse_at = \"reset\"\ndomains = \"all\"",
        &host.bpffs.pins(),
        "",
    );
    assert_eq!(host.maps().settings().unwrap().mode, MODE_ENFORCE);
    let status = host.status();
    assert_eq!((&status["mode"], &status["refuse_at"]), (&json!("enforce"), &json!("rcpt")));
    let differing = "\"shadow\" in the configuration, \"enforce\" in the kernel: start the daemon, or run";
    host.place.fails("status", 1, &format!("mode is {differing} `sixgate attach`"));
    assert_eq!(host.place.done("attach"), "v0: attached already, native mode\n");
    assert_eq!(host.maps().settings().unwrap().mode, MODE_SHADOW);
    assert_eq!(host.status()["warnings"], json!([]));
}

#[test]
fn attach_warns_of_refusing_everything_and_status_of_other_map_sizes() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::new("optin_entries = 2");
    let attached = host.place.run("attach --iface v0");
    assert!(attached.messages.contains("no destination has opted in: sixgate refuses all mail"));
    assert!(attached.messages.contains("no domain is listed: sixgate refuses every recipient"));
    host.place.configure("", &host.bpffs.pins(), "optin_entries = 3");
    let warnings = host.status()["warnings"].to_string();
    assert!(warnings.contains("optin_entries is 3 in the configuration, but the map has 2"), "{warnings}");
}

#[test]
fn ptr_entries_are_set_shown_and_forgotten() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    let place = &host.place;
    assert_eq!(place.done("ptr set 2001:db8:bad::1 absent"), "set 2001:db8:bad::1 absent for 15m\n");
    place.done("ptr set 2001:db8:1::1 exists --for 2h");
    let listed = place.json("ptr list");
    let states: Vec<(&str, &str)> = listed["ptr"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["address"].as_str().unwrap(), entry["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, [("2001:db8:1::1", "exists"), ("2001:db8:bad::1", "absent")]);
    let remaining = |words: &str| place.json(words)["remaining_seconds"].as_u64().unwrap();
    assert!((7100..=7200).contains(&remaining("ptr get 2001:db8:1::1")));
    assert!((800..=900).contains(&remaining("ptr get 2001:db8:bad::1")));
    assert!(place.done("ptr get 2001:db8:bad::1").starts_with("2001:db8:bad::1 absent command 14m "));

    assert_eq!(place.done("ptr remove 2001:db8:bad::1"), "removed 2001:db8:bad::1\n");
    place.fails("ptr remove 2001:db8:bad::1", 1, "not there: 2001:db8:bad::1");
    place.fails("ptr get 2001:db8:bad::1", 1, "nothing is known about 2001:db8:bad::1");
    assert_eq!(place.json("ptr get 2001:db8:bad::1"), Value::Null);
    assert_eq!(place.done("ptr flush"), "removed 1\n");
    assert_eq!(place.done("ptr list"), "");
}

#[test]
fn stats_show_every_counter() {
    if !gate::require(&NEEDS) {
        return;
    }
    let host = Host::attached("");
    let stats = host.place.json("stats");
    let counters = stats["counters"].as_array().unwrap();
    let names: Vec<&str> = counters.iter().map(|counter| counter["name"].as_str().unwrap()).collect();
    assert_eq!(names, Stat::ALL.map(Stat::name));
    assert!(counters.iter().all(|counter| counter["value"].is_u64() && counter["help"].is_string()));
    assert_eq!(stats["metrics_file"], Value::Null);
    let lines = host.place.done("stats");
    assert_eq!(lines.lines().count(), Stat::ALL.len());
    assert!(lines.starts_with("pass_truncated "));

    let metrics = host.place.path("metrics");
    host.place.configure("", &host.bpffs.pins(), &format!("[metrics]\nfile = {metrics:?}"));
    assert_eq!(host.place.run("stats").messages, "", "a file that is not there is not named");
    fs::write(&metrics, "").unwrap();
    let wanted = format!("sixgate: the daemon's counters are in {}\n", metrics.display());
    assert_eq!(host.place.run("stats").messages, wanted);
}
