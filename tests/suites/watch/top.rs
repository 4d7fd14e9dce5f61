//! `sixgate top`: one picture as text, of what the daemon saw.

use sixgate_tests::{
    gate::Need,
    site::{GATE, OTHER, SENDER},
    timeouts::wait_until,
};

use crate::{can_run, site};

#[test]
fn one_picture_has_rates_refusals_lists_and_health() {
    if !can_run(&[Need::Program("swaks")]) {
        return;
    }
    // the control socket is enough
    let site = site("http.listen = \"\"");
    site.expect("top --once", 2, &["no daemon answers"]);
    let daemon = site.serve(&["--no-xdp"]);
    site.expect("top --once", 0, &["no problem is known", "no refusal since the start"]);
    // nothing is drawn on what is not a terminal
    site.expect("top", 1, &["the output is not a terminal: use `sixgate top --once`"]);
    let _ = site.swaks(SENDER, GATE, &["--from", "a@sender.example", "--to", "user@contoso.com"]);
    let _ = site.rcpt(SENDER, OTHER);
    wait_until("the picture has the refusal", || {
        site.ran("top --once").1.contains("from <a@sender.example>")
    });
    let picture = site.sixgate("top --once");
    assert!(!picture.contains('\u{1b}'), "{picture}");
    // the columns are as wide as the picture
    let picture = picture.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "gate.example enforce mode, sixgate ",
        "last hour 1 1 0 last day 1 1 0",
        "0 sessions open; refusals by the daemon",
        "Refusals a minute, last hour (highest 1)",
        "destination has not opted in 1 1 ",
        "2001:db8:51::/64 2 1 ",
        "DNS usable",
        " 2001:db8:51::4 > 2001:db8:25::99 destination has not opted in from <a@sender.example> to <user@contoso.com>",
    ] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    daemon.stop().unwrap();
}
