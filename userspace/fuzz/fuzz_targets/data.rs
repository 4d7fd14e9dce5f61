//! The content after DATA: however it is cut, it is the content that the plainest reading finds,
//! and the octets for the next hop end at sixgate's final dot even for the most lenient of servers.
//!
//! The size of messages is tried by the target `session`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sixgate_fuzz::{
    script::{self, Script},
    strict::{self, Content},
};
use sixgate_smtp::data::{DataProgress, DataReceiver};

fuzz_target!(|input: &[u8]| {
    let (script, stream) = script::split(input);
    let wanted = strict::content(stream);
    assert_eq!(received(stream, script), wanted);
    if let Content::Whole(content, _) = wanted {
        leaves_in_one_piece(&content);
    }
});

/// The receiver's result for `stream` in pieces.
fn received(stream: &[u8], mut script: Script<'_>) -> Content {
    let (mut receiver, mut content, mut at) = (DataReceiver::default(), Vec::new(), 0);
    while at < stream.len() {
        let end = stream.len().min(at + script.length(PIECE_MAX));
        let input = &stream[at..end];
        match receiver.receive(input, |range| content.extend_from_slice(&input[range])) {
            DataProgress::More => at = end,
            DataProgress::End(count) => {
                assert!(count <= end - at);
                return Content::Whole(content, at + count);
            }
            DataProgress::BareLineEnd => return Content::Bare,
        }
    }
    Content::More
}

/// Dots doubled as RFC 5321 4.5.2 wants it, and the final one: a server that takes anything for the
/// end of a line finds no end before sixgate's.
fn leaves_in_one_piece(content: &[u8]) {
    let mut stream = Vec::new();
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            stream.push(b'.');
        }
        stream.extend_from_slice(line);
    }
    stream.extend_from_slice(b".\r\n");
    assert_eq!(strict::lenient_end(&stream), Some(stream.len()));
    assert_eq!(strict::content(&stream), Content::Whole(content.to_vec(), stream.len()));
}

const PIECE_MAX: usize = 100;
