//! Lines and content once more, read in the plainest way there is, whole and not in pieces; and
//! content as lenient servers read it.
//!
//! It is slow and takes no care of memory; it is here to be compared with.

/// What stands at the front of a stream of lines.
#[derive(Debug, Eq, PartialEq)]
pub enum Front {
    /// A line without its CRLF, and how many octets it takes with it.
    Line(Vec<u8>, usize),
    /// A bare CR, a bare LF or a NUL before the next CRLF.
    Bare,
    /// Neither of them yet.
    More,
}

/// The first line of `stream`.
#[must_use]
pub fn line(stream: &[u8]) -> Front {
    for (at, octet) in stream.iter().enumerate() {
        match (octet, stream.get(at + 1)) {
            (b'\r', Some(b'\n')) => return Front::Line(stream[..at].to_vec(), at + 2),
            (b'\r', None) => return Front::More,
            (b'\r' | b'\n' | 0, _) => return Front::Bare,
            _ => {}
        }
    }
    Front::More
}

/// The reading of a stream of content.
#[derive(Debug, Eq, PartialEq)]
pub enum Content {
    /// The content, dots removed, and how many octets it and its end take.
    Whole(Vec<u8>, usize),
    /// A bare CR, a bare LF or a NUL before the end.
    Bare,
    /// Neither of them yet.
    More,
}

/// The content at the front of `stream` (RFC 5321 4.5.2).
#[must_use]
pub fn content(stream: &[u8]) -> Content {
    let (mut found, mut at) = (Vec::new(), 0);
    loop {
        match line(&stream[at..]) {
            Front::Line(text, length) => {
                at += length;
                if text == b"." {
                    return Content::Whole(found, at);
                }
                found.extend_from_slice(text.strip_prefix(b".").unwrap_or(&text));
                found.extend_from_slice(b"\r\n");
            }
            Front::Bare => return Content::Bare,
            Front::More => return Content::More,
        }
    }
}

/// Where the most lenient of servers takes the content at the front of `stream` to end: behind a
/// line with nothing but a dot, with any octet that could end a line. None if it waits for more.
#[must_use]
pub fn lenient_end(stream: &[u8]) -> Option<usize> {
    let is_end = |octet: &u8| matches!(octet, b'\r' | b'\n' | 0);
    let mut start = 0;
    while let Some(length) = stream.get(start..)?.iter().position(is_end) {
        if stream[start..start + length] == *b"." {
            let crlf = stream[start + length..].starts_with(b"\r\n");
            return Some(start + length + if crlf { 2 } else { 1 });
        }
        start += length + 1;
    }
    None
}
