//! The tickets of docs/tickets.md: mail that is refused as users report it, each command of the
//! page, and the lines that the page shows of its output.

use std::time::Instant;

use sixgate_tests::timeouts::patience;

use crate::{
    book::{Block, blocks},
    host::{GATE, Host, NAMELESS, OTHER, SENDER},
};

/// Stands for a part of a line that is left out.
const LEFT_OUT: &str = " ... ";

/// Follows the page on a gate in mode enforce.
pub(crate) fn solve(host: &Host) {
    let refused = |client: (&str, &str), destination: &str, subject: &str, code: i32| {
        let sent = host.send_as(client, destination, "user@example.com", subject);
        assert_eq!(sent.code, code, "{}", sent.output);
    };
    refused((SENDER, "anna@first.example"), OTHER, "to an address that has not opted in", NO_RECIPIENT);
    refused((NAMELESS, "anna@first.example"), GATE, "without reverse DNS", NO_RECIPIENT);
    refused((SENDER, "news@second.example"), GATE, "without a pass", NO_MESSAGE);
    let page = blocks("docs/tickets.md");
    assert!(page.iter().filter(|block| block.script.contains("sixgate explain")).count() >= 5);
    for block in &page {
        follow(host, block);
    }
}

/// Runs a block, which `sixgate explain` may end with 1, until its output has what the page shows:
/// a line of the log may take a moment.
fn follow(host: &Host, block: &Block) {
    println!("--- {} ({})\n{}", block.place, block.heading, block.script);
    let end = Instant::now() + patience();
    loop {
        let output = host.run(&format!("set +e\n{}", block.script));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}: {text}{error}", block.place);
        let Some(missing) = missing(&block.shown, &text) else {
            return println!("{text}");
        };
        assert!(Instant::now() < end, "{}: no line {missing:?} in\n{text}{error}", block.place);
    }
}

/// The first line of `shown` that `text` does not have after those before it.
fn missing<'a>(shown: &'a [String], text: &str) -> Option<&'a str> {
    let mut lines = text.lines();
    shown.iter().find(|wanted| !lines.any(|line| is_line(wanted, line))).map(String::as_str)
}

/// Whether `line` has the parts of `wanted` in their order.
fn is_line(wanted: &str, line: &str) -> bool {
    let mut rest = line;
    wanted.split(LEFT_OUT).all(|part| match rest.split_once(part) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

/// The exit code of swaks when no recipient is accepted.
const NO_RECIPIENT: i32 = 24;
/// The exit code of swaks when the message is refused.
const NO_MESSAGE: i32 = 26;

#[test]
fn lines_are_found_in_their_order() {
    let shown = ["a ... c".to_owned(), "d".to_owned()];
    assert_eq!(missing(&shown, "x\na b c\nd\n"), None);
    assert_eq!(missing(&shown, "d\na b c\n"), Some("d"));
    assert_eq!(missing(&shown, "c a\nd\n"), Some("a ... c"));
}
