//! `sixgate init --next-hop`: the configuration that it makes of what it finds, with a real Postfix
//! behind.
//!
//! The way from there to a gate that takes mail is followed by the suite `documents`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sixgate_tests::{
    gate::{self, Need},
    mounts::with_folder_and_resolver,
    postfix::Postfix,
    site::{GATE, INTERFACE, Site},
};
use tempfile::TempDir;

use crate::{
    ZONE,
    behind::{BEHIND, TAKEN},
};

/// A host whose /var/lib is empty, and whose configuration is not there yet.
struct FreshHost {
    site: Site,
    state: TempDir,
}

impl FreshHost {
    /// None without what it takes.
    fn new() -> Option<Self> {
        if !gate::require(&[Need::Root, Need::Bpffs, Need::Xdp, Need::Postfix]) {
            return None;
        }
        let ours = "mx.contoso.com AAAA 2001:db8:25::25\n2001:db8:25::25 PTR mx.contoso.com\n\
                    contoso.com MX 10 mx.contoso.com.";
        let site = Site::new(&format!("{ZONE}{ours}"), "");
        fs::remove_file(site.config()).unwrap();
        site.gate.ip(&format!("route add default via fe80::51 dev {INTERFACE}")).unwrap();
        Some(Self { site, state: TempDir::new().unwrap() })
    }

    /// Runs a command on it: exit code, and all that it printed.
    fn ran(&self, command: &str) -> (Option<i32>, String) {
        with_folder_and_resolver(self.state.path(), "/var/lib", "::1", || self.site.ran(command)).unwrap()
    }

    /// Runs a command that has to end with `code` and to print all `parts`.
    #[track_caller]
    fn expect(&self, command: &str, code: i32, parts: &[&str]) -> String {
        let (ended, text) = self.ran(command);
        assert_eq!(ended, Some(code), "{command}: {text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{command}: {parts:?} in\n{text}");
        text
    }

    fn configuration(&self) -> String {
        fs::read_to_string(self.site.config()).unwrap()
    }

    fn store(&self) -> PathBuf {
        self.state.path().join("sixgate/store.db")
    }

    fn postfix(&self, settings: &str) -> Postfix {
        Postfix::start(&self.site.gate, BEHIND.into(), settings).unwrap()
    }
}

/// The command, with the name of the host.
const INIT: &str = "init --next-hop smtp://[::1]:10025 --hostname mx.contoso.com";

#[test]
fn one_command_makes_configuration_and_store_and_names_the_next_ones() {
    let Some(host) = FreshHost::new() else { return };
    let _postfix = host.postfix(TAKEN);
    let config = host.site.config().display().to_string();
    let tried = host.expect(
        &format!("{INIT} --dry-run --optin {GATE}"),
        0,
        &[
            &format!("{config}: would be written\n"),
            "store.db: would be made, empty\n",
            &format!("would be added: {GATE}/128 in\n"),
        ],
    );
    assert!(!Path::new(&config).exists() && !host.store().exists(), "{tried}");

    let text = host.expect(
        &format!("{INIT} --optin {GATE} --domain contoso.com"),
        0,
        &[
            "found: interface gate0: driver veth, MTU 1500",
            "found: the mail server at [::1]:10025 takes XCLIENT, and offers 8BITMIME SMTPUTF8 SIZE=",
            &format!("{config}: written\n"),
            "/var/lib/sixgate/store.db: made, empty\n",
            &format!("{GATE}/128 in"),
            "contoso.com",
            "\nnext: systemctl enable --now sixgate\nnext: sixgate doctor\n",
        ],
    );
    assert!(!text.contains("\nerror  ") && !text.contains("next: sixgate optin"), "{text}");
    let written = host.configuration();
    for line in [
        "hostname = \"mx.contoso.com\"",
        "mode = \"shadow\"",
        "smtp = \"[::1]:10025\"",
        "client = \"xclient\"",
        "interfaces = [\"gate0\"]",
    ] {
        assert!(written.lines().any(|found| found == line), "{line} in\n{written}");
    }
    assert!(written.lines().filter(|line| line.starts_with('#')).count() > 60, "explained:\n{written}");
    host.expect("config check", 0, &["good"]);
    host.expect("doctor", 0, &["ok           domain.mx contoso.com: mx.contoso.com leads here"]);

    // once more: nothing is lost, and what is there already is fine
    host.expect(&format!("{INIT} --optin {GATE}"), 0, &["unchanged: it has these values"]);
    host.expect("optin list", 0, &[&format!("{GATE}/128 in\n")]);
    let other = "init --next-hop smtp://[::1]:10025 --hostname gate.contoso.com --mode enforce";
    host.expect(
        other,
        2,
        &[
            "nothing was changed: `--force` replaces it",
            "hostname is \"mx.contoso.com\", would be \"gate.contoso.com\"",
            "mode is \"shadow\", would be \"enforce\"",
        ],
    );
    assert_eq!(host.configuration(), written);
    host.expect(&format!("{other} --force"), 0, &["written; that of before is kept as "]);
    assert_eq!(fs::read_to_string(format!("{config}.old")).unwrap(), written);
    host.expect("optin list", 0, &[&format!("{GATE}/128 in\n")]);
}

#[test]
fn without_optin_and_domain_they_are_the_next_commands() {
    let Some(host) = FreshHost::new() else { return };
    let maildir = host.site.folder().join("Maildir");
    let command = format!("init --next-hop maildir:{} --hostname mx.contoso.com", maildir.display());
    let listener = host.site.gate.listen("[::]:25".parse().unwrap()).unwrap();
    host.expect(
        &command,
        0,
        &[
            "next: sixgate optin add 2001:db8:25::25\nnext: sixgate domain add example.com\nnext: have ",
            " listen at 0.0.0.0:25 only\nnext: systemctl enable --now sixgate\n",
        ],
    );
    drop(listener);
    // the packaged file is not an administrator's
    let packaged = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/sixgate.toml");
    fs::copy(packaged, host.site.config()).unwrap();
    host.expect(&command, 0, &["written in place of the packaged one"]);
}

#[test]
fn the_client_is_told_in_the_way_that_the_mail_server_offers() {
    let Some(host) = FreshHost::new() else { return };
    for (settings, found, client) in [
        ("virtual_mailbox_domains = contoso.com", "does not offer XCLIENT to this host", "none"),
        (
            "smtpd_upstream_proxy_protocol = haproxy\nsmtpd_upstream_proxy_timeout = 1s",
            "expects the PROXY protocol, and offers ",
            "proxy",
        ),
    ] {
        let postfix = host.postfix(settings);
        host.expect(&format!("{INIT} --force"), 0, &[found]);
        let line = format!("client = \"{client}\"");
        assert!(host.configuration().lines().any(|found| found == line), "{line}");
        drop(postfix);
    }
}

#[test]
fn what_cannot_be_found_out_is_asked_for_and_nothing_is_changed() {
    let Some(host) = FreshHost::new() else { return };
    for (command, code, parts) in [
        (
            INIT,
            2,
            ["the connection to [::1]:10025 failed", "have the mail server listen at [::1]:10025 first"],
        ),
        ("init --next-hop smtp://localhost:25", 2, ["localhost:25", "neither an address with a port"]),
        ("init --next-hop http://[::1]:25", 2, ["is not a next hop such as smtp://[::1]:10025", ""]),
        ("init --optin ::1", 2, ["--next-hop <URL>", ""]),
        (
            "init --next-hop smtp://[::1]:10025 --client none --hostname mx.contoso.com --iface none0",
            2,
            ["no network interface named \"none0\"; nothing was changed", "ip -brief link"],
        ),
        (
            "init --next-hop smtp://[::1]:25 --client none --hostname mx.contoso.com",
            2,
            ["nothing was changed", "sixgate itself listens at [::1]:25"],
        ),
    ] {
        host.expect(command, code, &parts);
        assert!(!host.site.config().exists() && !host.store().exists(), "{command}");
    }
    // named, it need not answer yet
    host.expect(
        &format!("{INIT} --client xclient"),
        0,
        &["error        next_hop.server [::1]:10025: the connection to [::1]:10025 failed"],
    );
    assert!(host.store().exists());
}
