//! Shadow mode with the XDP program: what enforce would refuse passes, and is counted.

use sixgate_tests::site::OTHER;

use crate::{can_run, site};

#[test]
fn what_enforce_would_refuse_is_delivered_and_counted() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("mode = \"shadow\"");
    let unproven =
        ["--helo", "mail.sender.example", "--from", "a@unproven.example", "--to", "user@contoso.com"];
    let sent = site.swaks("2001:db8:51::240", OTHER, &unproven);
    assert_eq!(sent.code, 0, "{}", sent.output);
    assert_eq!(site.delivered().len(), 1);
    assert_eq!(site.counter("shadow_not_opted_in"), 1);
    assert_eq!(site.counter("tag_not_opted_in"), 0);
    let (_, log) = daemon.stop().unwrap();
    for reason in ["address_not_opted_in", "not_authenticated"] {
        let said = format!("enforce would have refused reason=\"{reason}\"");
        assert_eq!(log.matches(&said).count(), 1, "{said} in\n{log}");
    }
}
