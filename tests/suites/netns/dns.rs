//! DNS as on the hosts that there are: a budget that many equal questions do not use up, a
//! resolv.conf that changes, servers on link-local addresses.
//!
//! What single servers do wrong is in the suite `checks`.

use std::{
    fmt::Write as _,
    fs,
    net::{SocketAddr, SocketAddrV6},
    path::Path,
    thread,
};

use nix::net::if_::if_nametoindex;
use sixgate_tests::{
    dns::{DnsServer, Zone},
    gate::{self, Need},
    mounts::with_folder,
    netns::Netns,
    site::{GATE, INTERFACE, PEER, SENDER, Site},
    timeouts::wait_until,
};
use tokio::runtime::{Builder, Runtime};

use crate::ZONE;

/// Longer than any answer takes here, so that no question goes out twice.
const PATIENT: &str = "dns.timeout = \"20s\"";
/// Where the outside is on the link.
const LINK_LOCAL: &str = "fe80::51";

/// A gate for contoso.com.
fn site(zone: &str, settings: &str) -> Site {
    let site = Site::new(zone, settings);
    site.route("2001:db8:51::/48");
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    site
}

/// Sends a message of `from`, and returns the last reply.
fn send(site: &Site, from: &str) -> String {
    let mut client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    let mail = format!("MAIL FROM:<a@{from}>");
    for line in ["EHLO mail.sender.example", &mail, "RCPT TO:<user@contoso.com>", "DATA"] {
        let reply = client.say(line).unwrap();
        if reply.code >= 400 {
            return reply.last().to_owned();
        }
    }
    client.write(b"From: a@sender.example\r\n\r\nHello.\r\n").unwrap();
    client.say(".").unwrap().last().to_owned()
}

/// What RCPT is answered to a new address, in a network that was not asked about before.
fn rcpt(site: &Site, number: usize) -> String {
    site.rcpt(&format!("2001:db8:51:{number:x}::1"), GATE).last().to_owned()
}

#[test]
fn equal_questions_are_paid_for_once_however_many_ask_at_a_time() {
    const AT_ONCE: usize = 40;
    if !gate::require(&[Need::Root]) {
        return;
    }
    let spf: Vec<String> = (0..3)
        .map(|number| {
            format!(
                "s{number}.example TXT \"v=spf1 include:i{number}.example -all\"\ns{number}.example FAULT slow\n\
                 i{number}.example TXT \"v=spf1 ip6:2001:db8:51::/48 -all\"\ni{number}.example FAULT slow"
            )
        })
        .collect();
    let site = site(&format!("{ZONE}\n{}", spf.join("\n")), "limits.dns_questions_per_minute = 100")
        .configured(PATIENT);
    let daemon = site.serve(&["--no-xdp"]);
    let accepted = |reply: &str| assert!(reply.starts_with("250 "), "{reply}\n{}", daemon.log());
    accepted(&send(&site, "s0.example"));
    for domain in ["s1.example", "s2.example"] {
        thread::scope(|scope| {
            let sent: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(|| send(&site, domain))).collect();
            sent.into_iter().for_each(|sent| accepted(&sent.join().unwrap()));
        });
        assert_eq!(site.dns.queries_for(domain, "TXT"), 1, "{domain}");
    }
}

/// Two who send through one provider: one with a record that costs a hundred questions each time,
/// under one name and then under many, and one with a usual record.
#[test]
fn a_domain_of_many_questions_does_not_delay_its_providers_other_mail() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let mut zone = format!("{ZONE}\nother.example TXT \"v=spf1 ip6:2001:db8:51::/48 -all\"");
    let terms: Vec<String> = (0..10).map(|term| format!("mx:m{term}.example")).collect();
    for number in 0..30 {
        write!(zone, "\n{number}.hungry.example 0 TXT \"v=spf1 {} -all\"", terms.join(" ")).unwrap();
    }
    for (term, host) in (0..10).flat_map(|term| (0..10).map(move |host| (term, host))) {
        let name = format!("h{host}.m{term}.example");
        write!(zone, "\nm{term}.example 0 MX 1 {name}\n{name} 0 AAAA 2001:db8::1").unwrap();
    }
    let site = site(&zone, PATIENT);
    let file = site.folder().join("sixgate.prom");
    let site = site.configured(&format!("metrics.file = {file:?}"));
    let daemon = site.serve(&["--no-xdp"]);
    let one: Vec<String> = (0..15).map(|_| send(&site, "0.hungry.example")).collect();
    assert!(one[0].starts_with("450 4.7.26 ") && one[14].starts_with("451 4.4.3 "), "{one:?}");
    let many: Vec<String> = (1..30).map(|number| send(&site, &format!("{number}.hungry.example"))).collect();
    assert!(many[28].starts_with("451 4.4.3 "), "{many:?}");
    for domain in ["sender.example", "other.example"] {
        assert!(send(&site, domain).starts_with("250 "), "{domain}\n{}", daemon.log());
    }
    daemon.stop().unwrap();
    let counters = fs::read_to_string(file).unwrap();
    for (limit, is_reached) in [("dns_domain_budget", true), ("dns_budget", false)] {
        let name = format!("sixgate_limits_reached_total{{limit=\"{limit}\"}} ");
        let count = counters.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok());
        assert_eq!(count.is_some_and(|count| count > 0), is_reached, "{limit}: {count:?}");
    }
}

#[test]
fn a_domain_whose_hosts_have_ipv4_only_may_send_over_ipv6() {
    const DOMAIN: &str = "
        old.example TXT \"v=spf1 a mx a:www.old.example include:provider.example -all\"
        old.example A 192.0.2.1
        old.example MX 10 mx1.old.example
        old.example MX 20 mx2.old.example
        www.old.example A 192.0.2.2
        mx1.old.example A 192.0.2.3
        mx2.old.example A 192.0.2.4
        mx2.old.example AAAA 2001:db8::1
        provider.example TXT \"v=spf1 ip6:2001:db8:51::/48 -all\"
        older.example TXT \"v=spf1 a mx a:www.old.example include:provider.example -all\"
        older.example A 192.0.2.1
        older.example MX 10 mx1.old.example
    ";
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = site(&format!("{ZONE}\n{DOMAIN}"), PATIENT);
    let daemon = site.serve(&["--no-xdp"]);
    for domain in ["old.example", "older.example"] {
        let reply = send(&site, domain);
        assert!(reply.starts_with("250 "), "{domain}: {reply}\n{}", daemon.log());
    }
    daemon.stop().unwrap();
    let site = site.configured("spf.count_missing_family_as_void = true");
    let _daemon = site.serve(&["--no-xdp"]);
    assert!(send(&site, "old.example").starts_with("250 "), "two are allowed");
    assert!(send(&site, "older.example").starts_with("450 4.7.26 "), "three are not");
}

#[test]
fn resolv_conf_is_followed_and_only_its_servers_are_read() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let reverse = "2001:db8:51::1 PTR mail.sender.example";
    let site = site(reverse, "dns.servers = []");
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // by TCP, too
    let zone = format!("{reverse}\n2001:db8:51::1 FAULT truncate");
    let first = serve(&runtime, &site.outside, &zone);
    let folder = site.folder().join("etc");
    fs::create_dir(&folder).unwrap();
    let file = folder.join("resolv.conf");
    let odd = "search a..b -x.\ndomain ..\noptions timeout:x edns0\n";
    replace(&file, &format!("{odd}nameserver {LINK_LOCAL}%{INTERFACE}\n"));
    let daemon = with_folder(&folder, "/etc", || site.serve(&["--no-xdp"])).unwrap();
    assert_eq!(rcpt(&site, 0), ACCEPTED, "{}", daemon.log());
    let asked = first.queries_for("2001:db8:51::1", "PTR");
    assert_eq!((asked, site.dns.queries()), (2, 0), "by UDP and by TCP");
    drop(first);

    // another network: its server is the host's own
    replace(&file, "nameserver ::1\n");
    // each time another address, which has no record, so that there is a question
    let mut sources = 1..;
    let mut reply = || rcpt(&site, sources.next().unwrap());
    wait_until("another DNS server is asked", || !reply().starts_with("451 "));
    let line = daemon.wait_for_log("/etc/resolv.conf has changed: asking [::1]:53").unwrap();
    assert!(!line.contains("source=") && !line.contains("session"), "{line}");

    // what is of no use is not followed
    replace(&file, "search example\n");
    wait_until("a file without servers is logged", || {
        assert!(reply().starts_with("450 4.7.25 "));
        daemon.log().contains("it names no DNS server; still asking [::1]:53")
    });
}

#[test]
fn a_host_without_a_resolv_conf_asks_itself() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = site(ZONE, "dns.servers = []");
    let folder = site.folder().join("etc");
    fs::create_dir(&folder).unwrap();
    let daemon = with_folder(&folder, "/etc", || site.serve(&["--no-xdp"])).unwrap();
    daemon.wait_for_log("asking the DNS server of this host, [::1]:53, 127.0.0.1:53").unwrap();
    assert!(send(&site, "sender.example").starts_with("250 "), "{}", daemon.log());
}

#[test]
fn servers_are_asked_and_listened_for_in_the_zones_of_the_configuration() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = site("", &format!("dns.servers = [\"[{LINK_LOCAL}%late0]:53\"]"));
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _server = serve(&runtime, &site.outside, ZONE);
    let own = "fe80::25";
    site.gate.ip(&format!("address add {own}/64 dev {INTERFACE} nodad")).unwrap();
    let site = site.configured(&format!("listen.addresses = [\"[::]:25\", \"[{own}%{INTERFACE}]:2525\"]"));
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log("listening address=[fe80::25%").unwrap();
    // the interface that is named comes later
    assert!(send(&site, "sender.example").starts_with("451 4.4.3 "));
    site.gate.ip(&format!("link set {INTERFACE} down")).unwrap();
    site.gate.ip(&format!("link set {INTERFACE} name late0")).unwrap();
    site.gate.ip("link set late0 up").unwrap();
    site.gate.ip(&format!("address replace {GATE}/64 dev late0 nodad")).unwrap();
    site.gate.ip(&format!("route replace 2001:db8:51::/48 via {LINK_LOCAL} dev late0")).unwrap();
    assert!(send(&site, "sender.example").starts_with("250 "), "{}", daemon.log());
}

#[test]
fn an_address_that_needs_a_zone_is_refused_by_name() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    for (setting, key) in [
        ("dns.servers = [\"[fe80::53]:53\"]", "dns.servers"),
        ("listen.addresses = [\"[fe80::53]:53\"]", "listen.addresses"),
        ("next_hop = { smtp = \"[fe80::53]:53\" }", "next_hop.smtp"),
        ("next_hop = { lmtp = \"[fe80::53]:53\" }", "next_hop.lmtp"),
    ] {
        let site = Site::new("", setting);
        let output = site.run("config check");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let reason =
            "`[fe80::53]:53` is a link-local address: name its interface, such as `[fe80::53%eth0]:53`";
        assert!(said.contains(&format!("{key}: {reason}")), "{said}");
    }
}

/// A DNS server at [`LINK_LOCAL`] of `netns`.
fn serve(runtime: &Runtime, netns: &Netns, zone: &str) -> DnsServer {
    netns.ip(&format!("address replace {LINK_LOCAL}/64 dev {PEER} nodad")).unwrap();
    let scope = netns.run(|| if_nametoindex(PEER)).unwrap();
    let address: SocketAddr = SocketAddrV6::new(LINK_LOCAL.parse().unwrap(), 53, 0, scope).into();
    let _inside = runtime.enter();
    let (udp, tcp) = (netns.udp(address).unwrap(), netns.listen(address).unwrap());
    Zone::parse(zone).unwrap().serve_on(udp, tcp).unwrap()
}

/// Replaces the file by a new one.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

const ACCEPTED: &str = "250 2.1.5 Recipient ok";
