//! What watches the daemon: the listener for HTTP, Prometheus, the status page, `sixgate top`.

mod listener;
mod metrics;
mod page;
mod prometheus;
mod top;

use sixgate_tests::{
    gate::{self, Need},
    site::{GATE, Site},
};

/// DNS for [`sixgate_tests::site::SENDER`]: reverse DNS, and SPF for sender.example.
const ZONE: &str = "
    2001:db8:51::4 PTR mail.sender.example
    mail.sender.example AAAA 2001:db8:51::4
    sender.example TXT \"v=spf1 ip6:2001:db8:51::4 -all\"
";

/// A site with a listener where GATE and contoso.com have opted in.
fn site(settings: &str) -> Site {
    let usual = "answer = \"daemon\"\nhttp.listen = \"[::1]:9625\"";
    let site = Site::new(ZONE, usual).configured(settings);
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    site
}

fn can_run(more: &[Need]) -> bool {
    gate::require(&[&[Need::Root], more].concat())
}
