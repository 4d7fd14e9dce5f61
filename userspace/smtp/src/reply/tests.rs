//! The reply table: codes, texts, and what must never be in one.

use sixgate_common::refuse::ReplyId;

use super::*;
use crate::policy::{PermanentRefusals, TemporaryRefusals};

fn table() -> ReplyTable {
    ReplyTable::new("gate.example", 1000)
}

#[test]
fn each_enhanced_code_has_the_class_of_its_code() {
    for kind in ReplyKind::ALL {
        let reply = table().reply(*kind);
        if let Some(enhanced) = reply.enhanced {
            assert_eq!(u16::from(enhanced.class), reply.code() / 100, "{kind:?}");
        } else {
            let bare = [
                ReplyKind::Greeting,
                ReplyKind::GreetingRefused,
                ReplyKind::Helo,
                ReplyKind::NoName,
                ReplyKind::StartData,
            ];
            assert!(bare.contains(kind), "{kind:?} needs an enhanced code (RFC 2034 4)");
        }
    }
}

#[test]
fn the_promised_texts_are_literal() {
    for (kind, subject, wanted) in [
        (
            ReplyKind::NotOptedIn,
            "contoso.com",
            "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.\r\n",
        ),
        (
            ReplyKind::NotOptedInTemporary,
            "contoso.com",
            "450 4.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.\r\n",
        ),
        (
            ReplyKind::NoPtr,
            "2a01:111:f200:2004::240",
            "450 4.7.25 Service unavailable, sending IPv6 address [2a01:111:f200:2004::240] must have reverse DNS record.\r\n",
        ),
        (
            ReplyKind::PtrNotConfirmed,
            "2a01:111:f200:2004::240",
            "450 4.7.25 Service unavailable, sending IPv6 address [2a01:111:f200:2004::240] must have reverse DNS record that leads back to it.\r\n",
        ),
        (
            ReplyKind::NotAuthenticated,
            "2a01:111:f200:2004::240",
            "450 4.7.26 Service unavailable, message sent over IPv6 [2a01:111:f200:2004::240] must pass either SPF or DKIM validation.\r\n",
        ),
        (ReplyKind::DnsFailure, "", "451 4.4.3 Temporary DNS failure, please try again later.\r\n"),
        (
            ReplyKind::GreetingRefused,
            "2001:db8::25",
            "554 gate.example Service unavailable, [2001:db8::25] does not accept email over IPv6.\r\n",
        ),
    ] {
        assert_eq!(table().reply_about(kind, subject).to_string(), wanted);
    }
}

#[test]
fn a_permanent_refusal_differs_from_a_temporary_one_in_its_codes_only() {
    let no_ptr = PermanentRefusals { no_ptr: true, ..PermanentRefusals::default() };
    let not_authenticated = PermanentRefusals { not_authenticated: true, ..PermanentRefusals::default() };
    let rows = [
        (ReplyKind::NoPtr, no_ptr, "550 5.7.25"),
        (ReplyKind::NoPtr, not_authenticated, "450 4.7.25"),
        (ReplyKind::PtrNotConfirmed, no_ptr, "550 5.7.25"),
        (ReplyKind::NotAuthenticated, no_ptr, "450 4.7.26"),
        (ReplyKind::NotAuthenticated, not_authenticated, "550 5.7.26"),
    ];
    for (kind, permanent, codes) in rows {
        let usual = table().reply_about(kind, "2001:db8::1").to_string();
        let said = table().with_permanent(permanent).reply_about(kind, "2001:db8::1").to_string();
        assert_eq!(said, format!("{codes}{}", &usual[codes.len()..]), "{kind:?}");
    }
    let all = PermanentRefusals { no_ptr: true, not_authenticated: true };
    let changed = |kind: &&ReplyKind| table().reply(**kind) != table().with_permanent(all).reply(**kind);
    let changed: Vec<&ReplyKind> = ReplyKind::ALL.iter().filter(changed).collect();
    assert_eq!(changed, [&ReplyKind::NoPtr, &ReplyKind::PtrNotConfirmed, &ReplyKind::NotAuthenticated]);
}

#[test]
fn a_temporary_refusal_differs_from_a_permanent_one_in_its_codes_only() {
    let temporary = table().with_temporary(TemporaryRefusals { not_opted_in: true });
    let said = temporary.reply_about(ReplyKind::NotOptedIn, "contoso.com");
    assert_eq!(said, table().reply_about(ReplyKind::NotOptedInTemporary, "contoso.com"));
    let changed: Vec<&ReplyKind> =
        ReplyKind::ALL.iter().filter(|kind| table().reply(**kind) != temporary.reply(**kind)).collect();
    assert_eq!(changed, [&ReplyKind::NotOptedIn]);
}

#[test]
fn the_refusing_ehlo_offers_no_pipelining() {
    assert_eq!(
        table().refusing(ReplyId::Ehlo, "").to_string(),
        "250-gate.example\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"
    );
}

#[test]
fn a_session_is_named_in_replies_whose_text_is_not_prescribed() {
    let id = "5f3a-1";
    for (kind, wanted) in [
        (ReplyKind::Delivered, "250 2.0.0 Delivered as name 5f3a-1\r\n"),
        (ReplyKind::TooBig, "552 5.3.4 Message size exceeds fixed limit 5f3a-1\r\n"),
    ] {
        assert_eq!(table().reply_about(kind, "name").with_id(id).to_string(), wanted);
    }
    for kind in [
        ReplyKind::NotOptedIn,
        ReplyKind::NotOptedInTemporary,
        ReplyKind::NoPtr,
        ReplyKind::PtrNotConfirmed,
        ReplyKind::NotAuthenticated,
        ReplyKind::TestingKey,
        ReplyKind::DnsFailure,
    ] {
        let reply = table().reply_about(kind, "2001:db8::1");
        assert_eq!(*reply.with_id(id), reply, "{kind:?}");
    }
    // those of the XDP program
    for reply in ReplyId::ALL.map(|id| table().refusing(id, "2001:db8::1")) {
        assert_eq!(*reply.with_id(id), reply);
    }
    let passed_on = Reply::from_next_hop(550, [b"5.1.1 no such user".as_slice()]).unwrap();
    assert_eq!(*passed_on.with_id(id), passed_on);
}
