//! The line reader that kernel and daemon share: however input is cut, it gives the lines of the
//! plainest reading, keeps no more than the longest one, and echoes nothing but domain names.
//!
//! The commands in the lines are tried by the target `command`.

#![no_main]

use bytes::BufMut;
use libfuzzer_sys::fuzz_target;
use sixgate_common::{
    domain::{is_domain_name, recipient_domain},
    line::verb,
    refuse::{LINE_MAX, MAIL_LINE_MAX, Verb},
};
use sixgate_fuzz::{
    script::{self, Script},
    strict::{self, Front},
};
use sixgate_smtp::line::{InputLine, LineBuffer};

fuzz_target!(|input: &[u8]| {
    let (script, stream) = script::split(input);
    let lines = cut(stream, script);
    assert_eq!(lines, plainly_cut(stream));
    for line in lines {
        if let InputLine::Complete(line) = line {
            reads_within_bounds(&line);
        }
    }
});

/// The lines that the reader finds in `stream`, in pieces.
fn cut(stream: &[u8], mut script: Script<'_>) -> Vec<InputLine> {
    let (mut buffer, mut lines, mut at) = (LineBuffer::default(), Vec::new(), 0);
    while at < stream.len() {
        let end = stream.len().min(at + script.length(PIECE_MAX));
        buffer.space(end - at).put_slice(&stream[at..end]);
        at = end;
        while let Some(line) = buffer.next_line() {
            // how much of a line was dropped so far
            if line == InputLine::Endless {
                continue;
            }
            let is_last = line == InputLine::BareLineEnd;
            lines.push(line);
            if is_last {
                return lines;
            }
        }
        assert!(buffer.unread().len() < MAIL_LINE_MAX);
    }
    lines
}

fn plainly_cut(stream: &[u8]) -> Vec<InputLine> {
    let (mut lines, mut at) = (Vec::new(), 0);
    loop {
        match strict::line(&stream[at..]) {
            Front::Line(line, length) => {
                at += length;
                let fits = length <= MAIL_LINE_MAX;
                lines.push(if fits { InputLine::Complete(line.into()) } else { InputLine::TooLong });
            }
            Front::Bare => {
                lines.push(InputLine::BareLineEnd);
                return lines;
            }
            Front::More => return lines,
        }
    }
}

fn reads_within_bounds(line: &[u8]) {
    let verb = verb(line, 0, line.len());
    let is_mail = line.to_ascii_uppercase().starts_with(b"MAIL");
    if line.len() + 2 > LINE_MAX && !is_mail {
        assert_eq!(verb, Verb::TooLong);
    }
    if let Some(span) = recipient_domain(line, 0, line.len()) {
        let domain = &line[span.start..span.start + span.length];
        assert!(is_domain_name(domain));
        assert_eq!(line.get(span.start - 1), Some(&b'@'));
        assert_eq!(line.get(span.start + span.length), Some(&b'>'));
    }
}

const PIECE_MAX: usize = 1000;
