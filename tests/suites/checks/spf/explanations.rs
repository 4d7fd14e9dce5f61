//! The explanation that a domain's owner gives for a fail (RFC 7208 6.2).

use sixgate_auth::spf::{SpfResult, macros::LONGEST_EXPLANATION};

use super::{CLIENT, CLIENT_4, of_joe};

#[tokio::test]
async fn an_explanation_is_found_where_exp_leads() {
    let rows = [
        ("e.example TXT \"No mail from %{c}.\"", Some("No mail from 2001:db8::25.")),
        ("e.example TXT \"in two\" \" strings\"", Some("in two strings")),
        (
            "e.example TXT \"%{s} %{l} %{o} %{d} %{h} %{r} %{v}\"",
            Some("joe@a.example joe a.example a.example mail.c.example gate.example ip6"),
        ),
        (
            "e.example TXT \"see http://a.example/?%{S}&%{I1}\"",
            Some("see http://a.example/?joe%40a.example&5"),
        ),
        ("e.example TXT \"%%%_%-.\"", Some("% %20.")),
        (
            "e.example TXT \"by %{p}\"\n2001:db8::25 PTR x.example\nx.example AAAA 2001:db8::25",
            Some("by x.example"),
        ),
        ("e.example TXT \"by %{p}\"\n2001:db8::25 PTR x.example", Some("by unknown")),
        ("e.example CNAME f.example\nf.example TXT \"elsewhere\"", Some("elsewhere")),
        ("", None),
        ("e.example A 192.0.2.1", None),
        ("e.example TXT \"\"", None),
        ("e.example TXT one\ne.example TXT two", None),
        ("e.example TXT \"%{x}\"", None),
        ("e.example TXT \"100%\"", None),
        ("e.example TXT \"schön\"", None),
        ("e.example FAULT servfail", None),
        ("e.example FAULT timeout", None),
    ];
    for (zone, wanted) in rows {
        let check = of_joe(&format!("a.example TXT \"v=spf1 -all exp=e.example\"\n{zone}"), CLIENT).await;
        assert_eq!((check.result, check.explanation.as_deref()), (SpfResult::Fail, wanted), "{zone}");
    }
}

#[tokio::test]
async fn only_the_record_that_decided_explains() {
    const TEXTS: &str = "a.e.example TXT \"of a\"\nb.e.example TXT \"of b\"";
    let rows = [
        ("its own", "-all exp=%{d1r}.e.example", "", Some("of a")),
        ("not of an included one", "include:b.example -all", "-all exp=b.e.example", None),
        (
            "not of an included one that passes",
            "-include:b.example exp=a.e.example",
            "+all exp=b.e.example",
            Some("of a"),
        ),
        ("of one redirected to", "exp=a.e.example redirect=b.example", "-all exp=b.e.example", Some("of b")),
        ("not of one that redirects", "exp=a.e.example redirect=b.example", "-all", None),
        ("not without a fail", "~all exp=a.e.example", "", None),
        ("not of a permerror", "include:c.example exp=a.e.example", "", None),
    ];
    for (row, a, b, wanted) in rows {
        let zone = format!("a.example TXT \"v=spf1 {a}\"\nb.example TXT \"v=spf1 {b}\"\n{TEXTS}");
        assert_eq!(of_joe(&zone, CLIENT_4).await.explanation.as_deref(), wanted, "{row}");
    }
}

#[tokio::test]
async fn a_lookup_of_an_explanation_is_no_term() {
    let zone = "a.example TXT \"v=spf1 a:x.example a:y.example -all exp=gone.example\"";
    let check = of_joe(zone, CLIENT_4).await;
    assert_eq!((check.result, check.explanation), (SpfResult::Fail, None));
}

#[tokio::test]
async fn an_explanation_is_cut_where_the_room_ends() {
    let zone = format!(
        "a.example TXT \"v=spf1 -all exp=e.example\"\ne.example TXT {}",
        format!("\"{}\" ", "x".repeat(250)).repeat(20)
    );
    let explanation = of_joe(&zone, CLIENT).await.explanation.expect("an explanation");
    assert_eq!(explanation, "x".repeat(LONGEST_EXPLANATION));
}
