//! Records as real senders publish them, for a client over IPv6 that they mean: of large providers,
//! of domains that send through several, with macros, with as many terms as are allowed, and of
//! domains whose own hosts have IPv4 only.

use super::{CLIENT, of_joe, said};

/// The records that the domains below include.
const PROVIDERS: &str = r#"
    _spf.large.example TXT "v=spf1 include:_netblocks.large.example include:_netblocks2.large.example include:_netblocks3.large.example ~all"
    _netblocks.large.example TXT "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 ~all"
    _netblocks2.large.example TXT "v=spf1 ip6:2001:db8:4000::/36 ip6:2001:db8::/64 ~all"
    _netblocks3.large.example TXT "v=spf1 ip4:203.0.113.0/24 ~all"
    spf.protection.example TXT "v=spf1 ip4:192.0.2.0/25 ip6:2001:db8::/48 include:spfd.protection.example -all"
    spfd.protection.example TXT "v=spf1 ip4:198.51.100.0/24 -all"
    bulk.example TXT "v=spf1 ip4:192.0.2.0/24 ip4:198.51.100.0/24 include:ab.bulk.example ~all"
    ab.bulk.example TXT "v=spf1 ip4:203.0.113.0/24 ~all"
    u1.wl.bulk.example TXT "v=spf1 ip6:2001:db8::25 -all"
    mx1.provider.example A 192.0.2.1
    mx2.provider.example A 192.0.2.2
    mx2.provider.example AAAA 2001:db8::25
    provider.example TXT "v=spf1 mx:provider.example -all"
    provider.example MX 10 mx1.provider.example
    provider.example MX 20 mx2.provider.example
    v4.example A 192.0.2.3
    www.a.example A 192.0.2.4
    a.example A 192.0.2.4
    a.example MX 10 v4.example
    out.a.example A 192.0.2.5
    out.a.example AAAA 2001:db8::25
    2001:db8::25 PTR mail.c.example
    mail.c.example AAAA 2001:db8::25
    5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2._i.a.example A 127.0.0.2
    joe._u.a.example A 127.0.0.2
    joe.a.example._s.a.example A 127.0.0.2
    a.example._h.mail.c.example._d.ip6 A 127.0.0.2
"#;

#[tokio::test]
async fn what_real_senders_publish_is_read_as_they_mean_it() {
    let rows = [
        ("a large provider's hosted domain", "v=spf1 include:_spf.large.example ~all", "pass"),
        ("another one's", "v=spf1 include:spf.protection.example -all", "pass"),
        ("both", "v=spf1 include:spf.protection.example include:_spf.large.example -all", "pass"),
        ("own hosts first, IPv4 only", "v=spf1 a mx include:_spf.large.example -all", "pass"),
        ("and the web server", "v=spf1 a mx a:www.a.example include:_spf.large.example ~all", "pass"),
        (
            "a hosting panel's",
            "v=spf1 +a +mx +ip4:192.0.2.77 +a:v4.example include:provider.example ~all",
            "pass",
        ),
        (
            "a newsletter's sender behind bulk mail",
            "v=spf1 include:bulk.example include:u1.wl.bulk.example ~all",
            "pass",
        ),
        ("bulk mail only, of IPv4", "v=spf1 include:bulk.example -all", "fail"),
        ("bulk mail only, softly", "v=spf1 include:bulk.example ~all", "softfail"),
        ("a provider's mail servers", "v=spf1 mx:provider.example -all", "pass"),
        ("a provider's mail servers by its record", "v=spf1 include:provider.example -all", "pass"),
        ("one host by name", "v=spf1 a:out.a.example -all", "pass"),
        ("a network around a host", "v=spf1 a:out.a.example/24//64 -all", "pass"),
        ("a redirect", "v=spf1 redirect=_spf.large.example", "pass"),
        ("a redirect behind hosts of IPv4", "v=spf1 a mx redirect=spf.protection.example", "pass"),
        ("reverse DNS", "v=spf1 ptr:c.example -all", "pass"),
        ("reverse DNS in a name", "v=spf1 a:%{p} -all", "pass"),
        ("the client in a list", "v=spf1 exists:%{ir}._i.%{d} -all", "pass"),
        ("the client as it is", "v=spf1 exists:%{i}._spf.%{d} -all", "fail"),
        ("the user in a list", "v=spf1 exists:%{l}._u.%{d} -all", "pass"),
        ("the sender in a list", "v=spf1 exists:%{l}.%{o}._s.%{d2} -all", "pass"),
        ("everything in a list", "v=spf1 exists:%{o}._h.%{h}._d.%{v} -all", "pass"),
        (
            "ten lookups",
            "v=spf1 a mx a:www.a.example include:bulk.example exists:%{i}._x.%{d} include:_spf.large.example -all",
            "pass",
        ),
        (
            "eleven lookups",
            "v=spf1 a mx a:www.a.example a:v4.example exists:%{i}._x.%{d} include:bulk.example mx \
             include:_spf.large.example -all",
            "permerror",
        ),
        ("a null record", "v=spf1 -all", "fail"),
    ];
    for (row, record, wanted) in rows {
        // a string holds 255 octets
        let zone = format!("a.example TXT \"{record}\"\n{PROVIDERS}");
        let check = of_joe(&zone, CLIENT).await;
        assert_eq!(check.result.text(), wanted, "{row}: {}", said(&check));
    }
}
