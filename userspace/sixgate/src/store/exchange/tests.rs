//! An exported list is read as it was, in each format; what is wrong in one is named with its line.

use proptest::prelude::*;

use super::*;
use crate::store::PrefixMap;

const FORMATS: [ListFormat; 3] = [ListFormat::Text, ListFormat::Csv, ListFormat::Json];

fn parse(kind: ListKind, format: ListFormat, text: &str) -> Result<Contents, String> {
    parse_listing(kind, format, text.as_bytes(), &BTreeMap::new()).map_err(|error| error.to_string())
}

fn written(kind: ListKind, format: ListFormat, contents: &Contents) -> String {
    let mut out = Vec::new();
    write_listing(kind, format, contents, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn text(contents: &Contents, kind: ListKind) -> String {
    written(kind, ListFormat::Text, contents)
}

#[test]
fn csv_takes_comments_columns_in_any_order_and_quotation_marks() {
    let optin =
        "\u{feff}# ours\r\nDecision, prefix\r\n\r\nout,\"2001:db8::/32\"\r\n# one more\r\n,::1\r\n,\r\n";
    let found = parse(ListKind::OptIn, ListFormat::Csv, optin).unwrap();
    assert_eq!(text(&found, ListKind::OptIn), "::1/128 in\n2001:db8::/32 out\n");
    let guard = "prefix,origin\n::1,store\n::2,interface\n";
    let found = parse(ListKind::Guard, ListFormat::Csv, guard).unwrap();
    assert_eq!(text(&found, ListKind::Guard), "::1/128\n");
    let domains = "domain,temporary,opted_in\na.example,,\nb.example,true,false\nc.example,true,true\n";
    let found = parse(ListKind::Domain, ListFormat::Csv, domains).unwrap();
    assert_eq!(text(&found, ListKind::Domain), "a.example\nb.example temporary\nc.example in temporary\n");
    let header = parse(ListKind::Trust, ListFormat::Csv, "prefix\n").unwrap();
    assert_eq!(header, Contents::default());
}

#[test]
fn json_is_taken_as_lists_are_printed() {
    let guard = "{\"guard\": [\n{\"prefix\": \"::1\", \"origin\": \"store\"},\n{\"origin\": \"interface\", \"prefix\": \"::2\"}]}";
    let found = parse(ListKind::Guard, ListFormat::Json, guard).unwrap();
    assert_eq!(text(&found, ListKind::Guard), "::1/128\n");
    let domains = "{\"domains\": [{\"domain\": \"A.example\", \"opted_in\": true, \"temporary\": true}]}";
    let found = parse(ListKind::Domain, ListFormat::Json, domains).unwrap();
    assert_eq!(text(&found, ListKind::Domain), "a.example in temporary\n");
    assert_eq!(written(ListKind::Domain, ListFormat::Json, &Contents::default()), "{\"domains\": [\n]}\n");
}

#[test]
fn an_error_in_csv_or_json_is_named_with_its_line() {
    for (kind, csv, wanted) in [
        (ListKind::OptIn, "", "1: the first line has to name the columns: `prefix`, `decision`"),
        (
            ListKind::OptIn,
            "decision\nin\n",
            "1: the first line has to name the columns: `prefix`, `decision`",
        ),
        (
            ListKind::OptIn,
            "# a comment\n\n2001:db8::/32\n",
            "3: unknown column `2001:db8::/32`: the first line names the columns `prefix`, `decision`, separated by commas",
        ),
        (ListKind::Trust, "prefix,prefix\n", "1: the column `prefix` stands twice"),
        (ListKind::Trust, "prefix\n::1\n# again\n\n0::1/128\n", "5: ::1/128 stands twice"),
        (ListKind::OptIn, "prefix,decision\n::1,in\n::1,in\n", "3: ::1/128 stands twice"),
        (ListKind::OptIn, "prefix,decision\n::1\n", "2: 1 cell, but the first line names 2 columns"),
        (
            ListKind::OptIn,
            "prefix,decision\n::1,yes\n",
            "2: `yes` in the column `decision`: write `in` or `out`",
        ),
        (ListKind::OptIn, "prefix,decision\n,in\n", "2: `prefix` has no value"),
        (ListKind::OptIn, "prefix\n192.0.2.1\n", "2: `192.0.2.1` is IPv4: sixgate is about IPv6 only"),
        (
            ListKind::Trust,
            "prefix\n\"::1\n::2\n::3\n",
            "2: a cell of several lines, or of more than 300 octets: is a quotation mark missing?",
        ),
        (
            ListKind::Domain,
            "domain,opted_in\na.example,yes\n",
            "2: `yes` in the column `opted_in`: write `true` or `false`",
        ),
        (
            ListKind::Domain,
            "domain,opted_in\na.example,false\n",
            "2: neither `opted_in` nor `temporary` is true: leave the line out",
        ),
        (ListKind::Domain, "domain\na.example\nA.Example.\n", "3: a.example stands twice"),
        (ListKind::Domain, "domain\n192.0.2.1\n", "2: `192.0.2.1` is not a domain name but an address"),
    ] {
        let error = parse(kind, ListFormat::Csv, csv).unwrap_err();
        assert!(error.starts_with(wanted), "{csv:?}: {error}");
    }
    let error = parse_listing(ListKind::Trust, ListFormat::Csv, b"prefix\n\xff\n", &BTreeMap::new());
    assert_eq!(error.unwrap_err().to_string(), "2: not UTF-8");
    for (kind, json, wanted) in [
        (ListKind::Trust, "", "1: the file ends too early"),
        (ListKind::Trust, "{}", "1: the key `trust` is missing"),
        (ListKind::Trust, "[]", "1: invalid type: sequence, expected an object with the list `trust`, as "),
        (ListKind::Trust, "{\"optin\": []}", "1: unknown key `optin`, expected `trust`"),
        (ListKind::Trust, "{\"trust\": [],\n\"trust\": []}", "2: the key `trust` stands twice"),
        (
            ListKind::Trust,
            "{\"trust\": [\n{\"prefix\": \"::1\"},\n{\"prefix\": \"::2\", \"decision\": \"in\"}]}",
            "3: unknown key `decision`: the keys are `prefix`",
        ),
        (
            ListKind::Trust,
            "{\"trust\": [\n{\"prefix\": \"::1\"},\n{\"prefix\": \"::1\"}\n]}",
            "3: ::1/128 stands twice",
        ),
        (ListKind::Trust, "{\"trust\": [\n{\"prefix\": \"x\"}]}", "2: `x` is not an IPv6 prefix"),
        (
            ListKind::Trust,
            "{\"trust\": [\n{\"prefix\": 1}]}",
            "2: `prefix` is neither a string nor true or false",
        ),
        (ListKind::Trust, "{\"trust\": []}\n}", "2: trailing characters"),
        (ListKind::OptIn, "{\"optin\": [{}]}", "1: `prefix` has no value"),
        (
            ListKind::OptIn,
            "{\"optin\": [{\"prefix\": \"::1\", \"decision\": \"no\"}]}",
            "1: `no` in the column `decision`: write `in` or `out`",
        ),
    ] {
        let error = parse(kind, ListFormat::Json, json).unwrap_err();
        assert!(error.starts_with(wanted), "{json:?}: {error}");
    }
}

fn prefix() -> impl Strategy<Value = Ipv6Net> {
    (any::<u128>(), 0_u8..=128).prop_filter_map("IPv4", |(bits, length)| {
        let prefix = Ipv6Net::new(bits.into(), length).ok()?.trunc();
        parse_prefix(&prefix.to_string()).ok()
    })
}

fn domain() -> impl Strategy<Value = Domain> {
    "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z]{1,10}){1,3}"
        .prop_filter_map("an address", |name| name.parse::<Domain>().ok())
}

fn marks() -> impl Strategy<Value = Marks> {
    prop_oneof![Just(Marks::OPTED_IN), Just(Marks::TEMPORARY), Just(Marks::OPTED_IN.with(Marks::TEMPORARY)),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_exported_list_is_loaded_as_it_was(
        optin in prop::collection::vec((prefix(), any::<bool>()), 0..20),
        guard in prop::collection::vec(prefix(), 0..20),
        trust in prop::collection::vec(prefix(), 0..20),
        domains in prop::collection::vec((domain(), marks()), 0..20),
    ) {
        let contents = Contents {
            optin: optin
                .into_iter()
                .map(|(prefix, is_in)| (prefix, if is_in { OptIn::In } else { OptIn::Out }))
                .collect::<PrefixMap<OptIn>>(),
            guard: guard.into_iter().map(|prefix| (prefix, ())).collect(),
            trust: trust.into_iter().map(|prefix| (prefix, ())).collect(),
            domains: domains.into_iter().collect(),
        };
        for kind in ListKind::ALL {
            let mut wanted = Contents::default();
            match kind {
                ListKind::OptIn => wanted.optin.clone_from(&contents.optin),
                ListKind::Guard => wanted.guard.clone_from(&contents.guard),
                ListKind::Trust => wanted.trust.clone_from(&contents.trust),
                ListKind::Domain => wanted.domains.clone_from(&contents.domains),
            }
            for format in FORMATS {
                let exported = written(kind, format, &contents);
                let loaded = parse(kind, format, &exported);
                prop_assert_eq!(loaded.as_ref(), Ok(&wanted), "{:?} {:?}: {}", kind, format, exported);
            }
        }
    }
}
