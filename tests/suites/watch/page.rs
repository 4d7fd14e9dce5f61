//! The status page in a real browser, with what real clients sent.

use std::path::PathBuf;

use sixgate_tests::{
    browser::{self, BROWSER, View},
    gate::Need,
    http::{self, ADDRESS},
    site::{GATE, OTHER, SENDER, Site},
    timeouts::wait_until,
};

use crate::{can_run, site};

fn page(site: &Site, path: &str) -> String {
    let answer = http::get(&site.gate, path).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// A session that tries to be more than text.
fn hostile_session(site: &Site) {
    let mut client = site.connect(SENDER, OTHER);
    client.reply().unwrap();
    let _ = client.say("EHLO \"><script>alert(1)</script>").unwrap();
    let _ = client.say("MAIL FROM:<\"<img src=x onerror=alert(2)>\"@sender.example>").unwrap();
    let _ = client.say("RCPT TO:<\"'><b>\u{202e}'\"@contoso.com>").unwrap();
    let _ = client.say("QUIT").unwrap();
    client.closed().unwrap();
}

#[test]
fn a_quiet_gate_has_words_for_what_is_empty() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    let page = page(&site, "/");
    for words in [
        "No problem is known.",
        "Nothing was refused in the last day.",
        "No session has ended in the last day.",
        "No refusal since the start.",
        "No message was delivered.",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    daemon.stop().unwrap();
}

#[test]
fn the_page_shows_refusals_and_searches_them() {
    if !can_run(&[Need::Program("swaks")]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    let _ = site.swaks(SENDER, GATE, &["--from", "a@sender.example", "--to", "user@contoso.com"]);
    let _ = site.rcpt(SENDER, OTHER);
    assert_eq!(site.rcpt("2001:db8:51::5", GATE).code, 450);
    wait_until("the page has all sessions", || page(&site, "/").contains("2 refusals"));
    let all = page(&site, "/");
    for words in ["2001:db8:51::/64", OTHER, "destination has not opted in", "no PTR record"] {
        assert!(all.contains(words), "{words}: {all}");
    }
    let times = all.split("Times, last hour").nth(1).and_then(|rest| rest.split("</table>").next()).unwrap();
    for part in ["PTR", "SPF", "DKIM", "DNS", "Next hop"] {
        let row = times.split(&format!(">{part}</th>")).nth(1).and_then(|rest| rest.split("</tr>").next());
        let row = row.unwrap_or_else(|| panic!("{part}: {times}"));
        assert!(row.matches("ms</td>").count() == 3 && !row.contains(">0</td>"), "{part}: {row}");
    }
    let found = page(&site, "/?q=NO+PTR+reco");
    assert!(found.contains("contains “NO PTR reco”"), "{found}");
    let found = page(&site, "/?q=2001:db8:51::5");
    assert!(found.contains("1 refusal with “2001:db8:51::5”"), "{found}");
    let long = "x".repeat(10_000);
    assert!(page(&site, &format!("/?q={long}")).len() < 100_000);
    daemon.stop().unwrap();
}

#[test]
fn a_browser_shows_the_page_without_an_error_or_a_violation() {
    if !can_run(&[Need::Program(BROWSER), Need::Program("swaks")]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    for _ in 0..3 {
        hostile_session(&site);
        let _ = site.rcpt("2001:db8:51::5", GATE);
        let _ = site.swaks(SENDER, GATE, &["--from", "a@sender.example", "--to", "user@contoso.com"]);
    }
    let refusals = || page(&site, "/").matches("<article").count();
    wait_until("the page has the sessions", || refusals() >= 6);
    let url = format!("http://{ADDRESS}");
    let searched = format!("{url}/?q=%3Cscript%3Ealert(3)%3C/script%3E%22%3E%E2%80%AE");
    for url in [&url, &searched] {
        let loaded = browser::load(&site.gate, url).unwrap();
        assert!(loaded.console.is_empty(), "{:?}", loaded.console);
        assert!(loaded.document.contains("Last refusals"), "{}", loaded.document);
        assert!(
            !loaded.document.contains("<script") && !loaded.document.contains("<img"),
            "{}",
            loaded.document
        );
        assert!(!loaded.document.contains('\u{202e}'), "{}", loaded.document);
    }
    // pictures for people, where they are asked for
    let folder = std::env::var_os("SIXGATE_TEST_PICTURES").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| site.folder().to_owned());
    for (name, is_dark, size) in [
        ("light", false, (1280, 2200)),
        ("dark", true, (1280, 2200)),
        ("phone", false, (390, 4200)),
        ("phone-dark", true, (390, 4200)),
    ] {
        let picture = folder.join(format!("status-{name}.png"));
        browser::draw(&site.gate, &url, View { is_dark, size }, &picture).unwrap();
    }
    daemon.stop().unwrap();
}
