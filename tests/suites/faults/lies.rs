//! DNS servers that lie about the records that a message depends on: for any lie, the reply to the
//! sender is that DNS failed, and the sender is neither accepted for a lie nor refused for one.
//!
//! Lies about reverse DNS are in the suite `netns`; honest failures are in `dialogs`.

use sixgate_tests::{
    dns::{Liar, Lie},
    gate::{self, Need},
    site::SENDER,
};
use tokio::runtime::Builder;

use crate::{begin_message, greeted, honest_site};

/// Where the liar listens, on the gate.
const LIAR: &str = "[::1]:5353";
const FAILURE: &str = "451 4.4.3 Temporary DNS failure, please try again later.";

#[test]
fn with_any_dns_answer_about_spf_the_message_may_come_again() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let site = honest_site(&format!("dns = {{ servers = [{LIAR:?}], timeout = \"500ms\", attempts = 1 }}"));
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let liar = {
        let _inside = runtime.enter();
        let address = LIAR.parse().unwrap();
        let (udp, tcp) = (site.gate.udp(address).unwrap(), site.gate.listen(address).unwrap());
        Liar::serve_on(Lie::Truth, udp, tcp).unwrap()
    };
    let daemon = site.serve(&["--no-xdp"]);
    // reverse DNS is known from here on
    let mut client = greeted(&site, SENDER);
    begin_message(&mut client);
    assert!(client.message("Subject: a\n\nb\n").unwrap().last().starts_with("250 2.0.0 "), "the truth");
    for (number, lie) in Lie::FATAL.into_iter().enumerate() {
        liar.tell(lie);
        let mut client = greeted(&site, SENDER);
        // a domain without an earlier query
        let from = format!("MAIL FROM:<a@d{number}.example>");
        for (line, code) in [(from.as_str(), 250), ("RCPT TO:<user@contoso.com>", 250), ("DATA", 354)] {
            assert_eq!(client.say(line).unwrap().code, code, "{lie:?}: {}", client.transcript());
        }
        let heard = client.message("Subject: a\n\nb\n").unwrap();
        assert_eq!(heard.last(), FAILURE, "{lie:?}: {}", daemon.log());
    }
    assert_eq!(site.delivered().len(), 1);
    liar.tell(Lie::ForgedBefore);
    let mut client = greeted(&site, SENDER);
    begin_message(&mut client);
    assert!(client.message("Subject: a\n\nb\n").unwrap().last().starts_with("250 2.0.0 "), "beside a forger");
    let (status, log) = daemon.stop().unwrap();
    assert!(status.success() && !log.contains("panicked"), "{log}");
    assert!(!log.contains("hickory"), "a foreign zone writes no lines of the library's: {log}");
}
