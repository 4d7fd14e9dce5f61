//! `sixgate doctor` on facts of the host and of DNS: clock, settings of the kernel, validation,
//! certificate and TLSA records.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    process::{Command, Stdio},
};

use serde_json::Value;
use sixgate_tests::{
    certs::Authority,
    daemon,
    gate::{self, Need},
};

use crate::{
    can_run,
    doctor::{OURS, expect, reports, site},
};

#[test]
fn a_clock_that_is_not_synchronised_is_named() {
    if !can_run() {
        return;
    }
    let site = site(OURS, "");
    let tool = site.folder().join("timedatectl");
    for (script, parts) in [
        ("echo yes", &["ok: synchronised"][..]),
        ("echo no", &["warning: not synchronised: DKIM", "; timedatectl set-ntp true"]),
        // as without systemd-timedated
        ("exit 1", &["not_checked: timedatectl does not answer"]),
        ("exec sleep 60", &["not_checked: timedatectl does not answer in time"]),
        ("", &["not_checked: cannot run timedatectl: "]),
    ] {
        if script.is_empty() {
            fs::remove_file(&tool).unwrap();
        } else {
            fs::write(&tool, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&tool, Permissions::from_mode(0o755)).unwrap();
        }
        let path = match script {
            "" => site.folder().display().to_string(),
            _ => format!("{}:/usr/bin:/bin", site.folder().display()),
        };
        let mut command = Command::new(daemon::binary());
        command.arg("--config").arg(site.config()).args(["doctor", "--json"]).env("PATH", path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = site.gate.spawn(&mut command).unwrap().wait_with_output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = reports(document["checks"].as_array().unwrap(), "host.clock").concat();
        assert!(parts.iter().all(|part| found.contains(part)), "{script}: {found}");
    }
}

#[test]
fn settings_of_the_kernel_that_keep_mail_away_are_named() {
    if !can_run() {
        return;
    }
    let site = site(OURS, "");
    let set = |name: &str, value: &str| {
        let path = format!("/proc/sys/net/ipv6/{name}");
        site.gate.run(|| fs::write(path, value)).unwrap();
    };
    set("bindv6only", "1");
    expect(&site, 0, "kernel.bindv6only", &["ok: 1: a server at [::] takes IPv6 only"]);
    set("conf/all/forwarding", "1");
    set("conf/all/accept_ra", "1");
    site.gate.ip("-6 route flush default").unwrap();
    let parts =
        ["warning: 1: this host forwards", "no default route; sysctl -w net.ipv6.conf.all.accept_ra=2"];
    expect(&site, 0, "kernel.accept_ra", &parts);
    expect(&site, 0, "network.route", &["warning: there is no default route", "ip -6 route add default"]);
    set("conf/all/accept_ra", "2");
    expect(&site, 0, "kernel.accept_ra", &["ok: 2: this host forwards"]);
    set("conf/all/disable_ipv6", "1");
    let parts = ["error: 1: IPv6 is off", "; sysctl -w net.ipv6.conf.all.disable_ipv6=0"];
    expect(&site, 1, "kernel.ipv6", &parts);
}

#[test]
fn a_dns_server_that_validates_is_told_from_one_that_does_not() {
    if !can_run() {
        return;
    }
    let site = site(&format!("{OURS}\n. FAULT validated"), "");
    expect(&site, 0, "dns.validation", &["ok: the servers validate with DNSSEC"]);
}

#[test]
fn certificates_that_expired_or_have_other_names_are_found() {
    if !can_run() {
        return;
    }
    let zone = format!("{OURS}\n_mta-sts.contoso.com TXT \"v=STSv1; id=1;\"");
    let site = site(&zone, "");
    let paths = ["certificate", "key"].map(|name| site.folder().join(format!("{name}.pem")));
    let settings = format!("tls = {{ certificate = {:?}, key = {:?} }}", paths[0], paths[1]);
    site.write(&settings);
    expect(&site, 1, "tls.certificate", &["error: cannot read "]);
    let authority = Authority::new("tests");
    authority.issue_for("gate.example", 946_684_800, 978_307_200).install(site.folder()).unwrap();
    expect(&site, 1, "tls.certificate", &["error: ", "expired at 2001-01-01", "certbot renew"]);
    authority.issue("other.example").install(site.folder()).unwrap();
    expect(&site, 0, "tls.certificate", &["warning: it does not have the name gate.example"]);
    expect(&site, 0, "domain.tls", &["warning: it has MTA-STS, and the certificate does not have the name"]);
    authority.issue("gate.example").install(site.folder()).unwrap();
    expect(&site, 0, "tls.certificate", &["ok: valid until ", "for gate.example"]);
    expect(&site, 0, "domain.tls", &["ok: it has MTA-STS, and STARTTLS is offered"]);
    // the daemon's user is the owner of the store
    chown(site.folder().join("store.db"), Some(47_251), Some(47_251)).unwrap();
    for (path, mode) in [(site.folder(), 0o711), (&paths[0], 0o644), (&paths[1], 0o600)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let found = format!("user 47251 may not read {} (mode 0600, root:root)", paths[1].display());
    let cure = format!("chgrp 47251 {0} && chmod g+rX {0}", paths[1].display());
    expect(&site, 1, "tls.certificate", &["error: the daemon cannot read it: ", &found, &cure]);
}

#[test]
fn tlsa_records_are_compared_with_the_certificate_that_is_offered() {
    if !can_run() || !gate::require(&[Need::Program("openssl")]) {
        return;
    }
    let authority = Authority::new("tests");
    let own = authority.issue("gate.example");
    let elsewhere = authority.issue("other.example");
    let wrong = "00".repeat(32);
    let mail_server = "_25._tcp.gate.example";
    let (key, renewed) = (own.tlsa(3, 1, 1).unwrap(), elsewhere.tlsa(3, 1, 1).unwrap());
    let of_authority = authority.tlsa(2, 0, 1).unwrap();
    for (records, pair, code, parts) in [
        (vec![key.clone()], &own, 0, &["ok: 1 of 1 TLSA records of gate.example match"][..]),
        (vec![own.tlsa(3, 1, 2).unwrap()], &own, 0, &["ok: 1 of 1 "]),
        (vec![own.tlsa(3, 0, 1).unwrap()], &own, 0, &["ok: 1 of 1 "]),
        (vec![own.tlsa(3, 0, 0).unwrap()], &own, 0, &["ok: 1 of 1 "]),
        (vec![key.clone(), format!("3 1 1 {wrong}")], &own, 0, &["ok: 1 of 2 "]),
        (vec![of_authority.clone()], &own, 0, &["ok: 1 of 1 "]),
        // renewed with another key, and DNS has the old one
        (
            vec![key.clone()],
            &elsewhere,
            1,
            &["error: the TLSA record of gate.example does not match", "; publish in DNS: ", &renewed],
        ),
        (
            vec![key, format!("3 0 1 {wrong}")],
            &elsewhere,
            1,
            &["error: each of the 2 TLSA records of gate.example does not match"],
        ),
        // an authority's record is for the name, too; that of a key is not
        (vec![of_authority], &elsewhere, 1, &["error: a TLSA record of gate.example matches the CA, but"]),
        (vec![renewed.clone()], &elsewhere, 0, &["ok: 1 of 1 "]),
        // the end of the chain is not the certificate's
        (vec![own.tlsa(2, 1, 1).unwrap()], &own, 1, &["error: the TLSA record of gate.example does not"]),
        (
            vec![authority.tlsa(3, 0, 1).unwrap()],
            &own,
            1,
            &["error: the TLSA record of gate.example does not"],
        ),
        (
            vec![own.tlsa(1, 1, 1).unwrap()],
            &own,
            0,
            &["warning: the TLSA records of gate.example are of no kind"],
        ),
    ] {
        let lines: Vec<String> =
            records.iter().map(|record| format!("{mail_server} TLSA {record}")).collect();
        let site = site(&format!("{OURS}\n{}", lines.join("\n")), "");
        pair.with_authority(&authority).install(site.folder()).unwrap();
        let paths = ["certificate", "key"].map(|name| site.folder().join(format!("{name}.pem")));
        site.write(&format!("tls = {{ certificate = {:?}, key = {:?} }}", paths[0], paths[1]));
        expect(&site, code, "domain.dane", parts);
    }
    let site = site(&format!("{OURS}\n{mail_server} FAULT servfail"), "");
    expect(&site, 0, "domain.dane", &["not_checked: ", "SERVFAIL", "senders with DANE retry"]);
}
