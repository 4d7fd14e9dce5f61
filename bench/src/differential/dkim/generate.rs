//! Messages, signatures, key records, and changes to a signed message on its way.
//!
//! Most are such as people send, some are odd, some are broken. The right result is not its
//! business.

use proptest::{prelude::*, sample::Index};

/// A message, how it is signed, and what becomes of it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The header without its signature, each line with its CRLF.
    pub(super) fields: Vec<String>,
    pub(super) body: String,
    pub(super) signer: Signer,
    pub(super) algorithm: Algorithm,
    /// Of header and body.
    pub(super) relaxed: (bool, bool),
    /// The field names of `h=`.
    pub(super) names: Vec<String>,
    pub(super) length: Length,
    /// The replacements in a signature that is made by hand, before it is made.
    pub(super) edits: Vec<(&'static str, &'static str)>,
    /// The tags of the key record in front of `p=`, and those behind it.
    pub(super) record: (&'static str, &'static str),
    /// A second TXT record beside the key.
    pub(super) beside: Option<&'static str>,
    pub(super) changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Signer {
    ByHand,
    Dkimpy,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Algorithm {
    Ed25519,
    Rsa,
}

/// The length in `l=`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Length {
    All,
    /// So many octets less.
    Less(usize),
    /// So many octets more.
    More(usize),
    Unsaid,
}

/// What happens to a message after it was signed.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// At its end.
    Append(&'static str),
    /// At its beginning.
    Prepend(&'static str),
    /// The first of these in the message.
    Replace(&'static str, &'static str),
    /// An octet somewhere becomes another.
    Alter(Index),
    /// A space somewhere.
    Blank(Index),
    /// A line is dropped.
    Drop(Index),
    /// The signature goes to the end of the header.
    Sink,
    /// The last line end is lost.
    Cut,
}

impl Algorithm {
    /// Its name in `a=`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519-sha256",
            Self::Rsa => "rsa-sha256",
        }
    }
}

impl Change {
    /// Does it to `message`, whose header's first field is the signature. Line ends stay whole.
    pub(super) fn apply(&self, message: &str) -> String {
        match self {
            Self::Append(text) => format!("{message}{text}"),
            Self::Prepend(text) => format!("{text}{message}"),
            Self::Replace(what, with) => message.replacen(what, with, 1),
            Self::Alter(index) => at(message, index, |octet| if octet == 'x' { "y" } else { "x" }.to_owned()),
            Self::Blank(index) => at(message, index, |octet| format!(" {octet}")),
            Self::Drop(index) => {
                let lines: Vec<&str> = message.split_inclusive("\r\n").collect();
                let dropped = index.index(lines.len());
                let kept = lines.iter().enumerate().filter(|(number, _)| *number != dropped);
                kept.map(|(_, line)| *line).collect()
            }
            Self::Sink => match message.split_once("\r\n\r\n") {
                Some((header, body)) => {
                    let end = header.match_indices("\r\n").map(|(at, _)| at + 2);
                    let first = end.into_iter().find(|at| !header[*at..].starts_with([' ', '\t']));
                    let (signature, rest) = header.split_at(first.unwrap_or(header.len()));
                    format!("{rest}\r\n{}\r\n\r\n{body}", signature.trim_end())
                }
                None => message.to_owned(),
            },
            Self::Cut => message.strip_suffix("\r\n").unwrap_or(message).to_owned(),
        }
    }
}

/// Another character for one octet that is not a line end.
fn at(message: &str, index: &Index, with: impl Fn(char) -> String) -> String {
    let places: Vec<usize> =
        message.char_indices().filter(|(_, octet)| octet.is_ascii_graphic()).map(|(at, _)| at).collect();
    let place = places[index.index(places.len())];
    let octet = char::from(message.as_bytes()[place]);
    format!("{}{}{}", &message[..place], with(octet), &message[place + 1..])
}

prop_compose! {
    /// Any plan of a message.
    pub(super) fn plan()(
        fields in fields(), body in body(),
        signer in prop_oneof![Just(Signer::ByHand), Just(Signer::ByHand), Just(Signer::Dkimpy)],
        algorithm in prop_oneof![Just(Algorithm::Rsa), Just(Algorithm::Ed25519)],
        relaxed in any::<(bool, bool)>(), names in names(),
        length in prop_oneof![
            8 => Just(Length::Unsaid), 1 => Just(Length::All), 1 => (0_usize..40).prop_map(Length::Less),
            1 => (1_usize..4).prop_map(Length::More),
        ],
        edits in prop_oneof![
            2 => Just(Vec::new()), 2 => proptest::collection::vec(proptest::sample::select(EDITS), 1..3),
        ],
        record in prop_oneof![3 => Just(("v=DKIM1; ", "")), 1 => proptest::sample::select(RECORDS)],
        beside in prop_oneof![
            20 => Just(None),
            1 => proptest::sample::select(&["v=spf1 -all", "v=DKIM1; p="][..]).prop_map(Some),
        ],
        changes in prop_oneof![2 => Just(Vec::new()), 3 => proptest::collection::vec(change(), 1..3)],
    ) -> Plan {
        Plan { fields, body, signer, algorithm, relaxed, names, length, edits, record, beside, changes }
    }
}

fn fields() -> impl Strategy<Value = Vec<String>> {
    let value = "( |\t|\r\n |\r\n\t| \r\n  )?[a-z<>@.:;=]{0,6}( |\t|\r\n |  )?[a-z\u{e9}]{0,6}( |\t){0,2}";
    let name = proptest::sample::select(&["Subject", "To", "X-A", "x-a", "Received", "Date"][..]);
    let others = proptest::collection::vec((name, value), 0..6);
    let from = prop_oneof![
        8 => Just("From: Joe <joe@a.example>\r\n".to_owned()), 1 => Just("from:joe@a.example\r\n".to_owned()),
        1 => Just("FROM :\r\n\tjoe@a.example \r\n".to_owned()), 1 => Just(String::new()),
    ];
    (others, from, any::<Index>()).prop_map(|(others, from, index)| {
        let mut fields: Vec<String> =
            others.into_iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
        if !from.is_empty() {
            fields.insert(index.index(fields.len() + 1), from);
        }
        fields
    })
}

fn body() -> impl Strategy<Value = String> {
    let line = "( |\t|  )?[a-z]{0,5}( |\t|  )?[a-z]{0,5}( |\t| \t)?";
    let lines = proptest::collection::vec(prop_oneof![line.boxed(), Just(String::new()).boxed()], 0..6);
    (lines, "(\r\n){0,3}").prop_map(|(lines, end)| lines.join("\r\n") + &end)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    let name = proptest::sample::select(
        &["subject", "To", "x-a", "X-A", "received", "date", "absent", "from", "From", "dkim-signature"][..],
    );
    (proptest::collection::vec(name, 0..6), any::<Index>(), 0_u8..40).prop_map(|(names, index, without)| {
        let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        if without > 0 {
            names.insert(index.index(names.len() + 1), "from".to_owned());
        }
        names
    })
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        proptest::sample::select(&["appended\r\n", "\r\n", " \t\r\n", "\r\n\r\n", " "][..])
            .prop_map(Change::Append),
        proptest::sample::select(
            &[
                "From: eve@b.example\r\n",
                "Subject: other\r\n",
                "X-Other: x\r\n",
                "From : eve@b.example\r\n",
                "nonsense\r\n",
                "X-A:\r\n",
            ][..]
        )
        .prop_map(Change::Prepend),
        proptest::sample::select(CHANGES).prop_map(|(what, with)| Change::Replace(what, with)),
        any::<Index>().prop_map(Change::Alter),
        any::<Index>().prop_map(Change::Blank),
        any::<Index>().prop_map(Change::Drop),
        Just(Change::Sink),
        Just(Change::Cut),
    ]
}

/// Of a signed message.
const CHANGES: &[(&str, &str)] = &[
    ("From:", "from:"),
    ("From:", "From :"),
    ("To:", "TO\t:"),
    ("Subject:", "Subject:\r\n\t"),
    ("Subject: ", "Subject:\t "),
    (" ", "  "),
    ("\r\n\r\n", "\r\n"),
    ("; b=", ";\r\n\tb="),
    ("; b=", ";b="),
    ("=\r\n", "\r\n"),
    ("s=s", "S=s"),
    ("DKIM-Signature:", "dkim-signature :"),
];

/// Of a signature made by hand.
const EDITS: &[(&str, &str)] = &[
    ("v=1;", "v = 1 ;"),
    ("v=1; ", ""),
    ("v=1;", "v=2;"),
    ("v=1;", "v=01;"),
    ("v=1;", "v=1; v=1;"),
    ("v=1;", "v=1; V=2;"),
    ("v=1;", "v=1;;"),
    ("v=1;", "v=1; x;"),
    ("v=1;", "v=1; unknown=a b=c;"),
    ("v=1;", "v=1; unknown=;"),
    ("v=1;", "v=1; z=From:a|\r\n To:b;"),
    ("v=1;", "v=1; n=b\u{fc}cher;"),
    ("v=1;", "v=1; 1x=y;"),
    ("v=1;", "v=1; q=dns/txt;"),
    ("v=1;", "v=1; q=http:dns/txt;"),
    ("v=1;", "v=1; q=http;"),
    ("v=1;", "v=1; t=1000000000;"),
    ("v=1;", "v=1; t=99999999999;"),
    ("v=1;", "v=1; t=1000000000; x=99999999999;"),
    ("v=1;", "v=1; x=1000000000;"),
    ("v=1;", "v=1; t=99999999999; x=9;"),
    ("v=1;", "v=1; t=soon;"),
    ("v=1;", "v=1; x=;"),
    ("v=1;", "v=1; l=x;"),
    ("v=1;", "v=1; i=@a.example;"),
    ("v=1;", "v=1; i=joe@B.a.Example;"),
    ("v=1;", "v=1; i=joe=20x@a.example;"),
    ("v=1;", "v=1; i=@b.example;"),
    ("v=1;", "v=1; i=@ba.example;"),
    ("v=1;", "v=1; i=a.example;"),
    ("v=1;", "v=1; i=;"),
    ("a=rsa", "a= rsa"),
    ("a=rsa", "a=RSA"),
    ("a=rsa-sha256", "a=rsa-sha1"),
    ("a=rsa-sha256; ", ""),
    ("c=", "C="),
    ("c=relaxed", "c=Relaxed"),
    ("c=relaxed/simple", "c=relaxed"),
    ("c=simple/simple; ", ""),
    ("c=simple/", "c=nofws/"),
    ("d=a.example", "d=A.Example"),
    ("d=a.example", "d=a.example."),
    ("d=a.example", "d=a. example"),
    ("d=a.example", "d="),
    ("h=", "h = "),
    ("h=", "h=x : "),
    ("h=", "h=x\r\n\t:y:"),
    ("h=", "h=:"),
    ("; bh=", ":; bh="),
    ("bh={bh}; ", ""),
    ("bh={bh}", "bh=\r\n\t{bh}"),
    ("bh={bh}", "bh={bh}="),
    ("b={b}", "b={b};"),
    ("b={b}", "b={b} ; "),
    ("b={b}", "b =\r\n\t{b}"),
    ("b={b}", "b={b}; n=x"),
    ("; b={b}", ";b={b}"),
    ("; b={b}", ";\r\n b=\r\n {b}\r\n "),
];

/// In front of `p=` and behind the key.
const RECORDS: &[(&str, &str)] = &[
    ("", ""),
    ("v=DKIM1;", ";"),
    ("v = DKIM1 ; ", " ; "),
    ("v=DKIM1; ", ";;"),
    ("v=DKIM2; ", ""),
    ("v=dkim1; ", ""),
    ("n=x; v=DKIM1; ", ""),
    ("", "; v=DKIM1"),
    ("v=DKIM1; h=sha256; ", ""),
    ("v=DKIM1; h=sha1:sha256; ", ""),
    ("v=DKIM1; h=sha1; ", ""),
    ("v=DKIM1; s=*; ", ""),
    ("v=DKIM1; s=email; ", ""),
    ("v=DKIM1; s=x:email; ", ""),
    ("v=DKIM1; s=chat; ", ""),
    ("v=DKIM1; s=tlsrpt; ", ""),
    ("v=DKIM1; t=s; ", ""),
    ("v=DKIM1; t=y; ", ""),
    ("v=DKIM1; t=x:y:s; ", ""),
    ("v=DKIM1; n=a note; g=*; ", "; unknown=1"),
    ("v=DKIM1; n=1; n=2; ", ""),
    ("v=DKIM1; p=; ", ""),
    ("v=DKIM1; nonsense; ", ""),
    ("v=DKIM1; K=x; H=y; ", ""),
];
