//! Trusted sources: exempt from opt-in, reverse DNS, SPF and DKIM, never from the recipients'
//! domains.

use sixgate_tests::site::OTHER;

use crate::{can_run, site};

const TRUSTED: &str = "2001:db8:51::7";

#[test]
fn a_trusted_source_is_served_without_dns() {
    if !can_run() {
        return;
    }
    let (site, _daemon) = site("");
    site.sixgate(&format!("trust add {TRUSTED}"));
    let message = ["--helo", "inside.example", "--from", "a@unproven.example", "--to", "user@contoso.com"];
    let sent = site.swaks(TRUSTED, OTHER, &message);
    assert_eq!(sent.code, 0, "{}", sent.output);
    assert_eq!(site.counter("pass_trusted"), 1);
    let delivered = site.delivered();
    assert_eq!(delivered.len(), 1);
    site.sixgate(&format!("trust remove {TRUSTED}"));
    let sent = site.swaks(TRUSTED, OTHER, &message);
    assert!(sent.output.contains("550 5.2.1"), "{}", sent.output);
    assert_eq!(site.counter("tag_not_opted_in"), 1);
}
