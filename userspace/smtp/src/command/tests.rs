//! Command lines as clients write them: what is read from them, and what is refused.

use super::*;

fn recipient(line: &str) -> Result<String, CommandError> {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => Ok(rcpt.to_string()),
        Ok(other) => panic!("{line}: {other:?}"),
        Err(error) => Err(error),
    }
}

#[test]
fn recipients_are_read_as_rfc_5321_writes_them() {
    use CommandError::*;
    let longest = format!("{}@a.example", "x".repeat(244));
    let umlauts = format!("{}@a.example", "ü".repeat(140));
    let (longest_line, umlauts_line) = (format!("RCPT TO:<{longest}>"), format!("RCPT TO:<{umlauts}>"));
    let longer = format!("RCPT TO:<x{longest}>");
    let long_path = format!("RCPT TO:<a@{}.example>", vec!["x".repeat(60); 5].join("."));
    for (line, wanted) in [
        ("RCPT TO:<user@contoso.com>", Ok("user@contoso.com")),
        ("rcpt to: <User@Contoso.com> ", Ok("User@Contoso.com")),
        ("RCPT TO:<@a.example,@b.example:user@contoso.com>", Ok("user@contoso.com")),
        ("RCPT TO:<\"john doe\"@contoso.com>", Ok("\"john doe\"@contoso.com")),
        ("RCPT TO:<\"a\\\"b>\"@contoso.com>", Ok("\"a\\\"b>\"@contoso.com")),
        ("RCPT TO:<user@[IPv6:2001:db8::1]>", Ok("user@[IPv6:2001:db8::1]")),
        ("RCPT TO:<user@[192.0.2.1]>", Ok("user@[192.0.2.1]")),
        ("RCPT TO:<Postmaster>", Ok("Postmaster")),
        ("RCPT TO:<>", Err(BadRecipient)),
        ("RCPT TO:user@contoso.com", Ok("user@contoso.com")),
        ("RCPT TO: \"john doe\"@contoso.com", Ok("\"john doe\"@contoso.com")),
        ("RCPT TO:postmaster", Ok("postmaster")),
        ("RCPT TO:<\"PostMaster\">", Ok("PostMaster")),
        ("RCPT TO:<\"postmaster>", Err(BadRecipient)),
        ("RCPT TO:user@contoso.com>", Ok("user@contoso.com")),
        ("RCPT TO:user@contoso.com>>", Err(BadRecipient)),
        ("RCPT TO:user@contoso.com;", Err(BadRecipient)),
        ("RCPT TO:>", Err(BadRecipient)),
        ("RCPT TO:<user@contoso.com>;", Ok("user@contoso.com")),
        ("RCPT TO:<user@contoso.com>; ", Ok("user@contoso.com")),
        ("RCPT TO:<user@contoso.com>;;", Err(BadRecipient)),
        ("RCPT TO:<user@contoso.com>; NOTIFY=NEVER", Err(UnknownParameter)),
        ("RCPT TO:user@contoso.com NOTIFY=NEVER", Err(UnknownParameter)),
        ("RCPT TO:", Err(BadRecipient)),
        ("RCPT TO:< user@contoso.com >", Ok("user@contoso.com")),
        ("RCPT\tTO:<user@contoso.com>\t", Ok("user@contoso.com")),
        (" RCPT TO:<user@contoso.com>", Ok("user@contoso.com")),
        ("\t RCPT \tTO:\t<\tuser@contoso.com> \t", Ok("user@contoso.com")),
        ("\x0cRCPT TO:<user@contoso.com>", Err(Unknown)),
        ("RCPT\x0cTO:<user@contoso.com>", Err(Unknown)),
        ("RCPT \x0cTO:<user@contoso.com>", Err(Syntax)),
        ("RCPT TO:\x0c<user@contoso.com>", Err(BadRecipient)),
        ("RCPT TO:<\x0cuser@contoso.com>", Err(BadRecipient)),
        ("RCPT TO:<user@contoso.com>\x0c", Err(BadRecipient)),
        ("RCPT TO:<user>", Ok("user")),
        ("RCPT TO:<user@>", Err(BadRecipient)),
        ("RCPT TO:<@contoso.com>", Err(BadRecipient)),
        ("RCPT TO:<a..b@contoso.com>", Ok("a..b@contoso.com")),
        ("RCPT TO:<.a@contoso.com>", Ok(".a@contoso.com")),
        ("RCPT TO:<a b@contoso.com>", Err(BadRecipient)),
        ("RCPT TO:<a@b@contoso.com>", Err(BadRecipient)),
        ("RCPT TO:<<user@contoso.com>>", Ok("user@contoso.com")),
        ("RCPT TO:<<user@contoso.com>", Err(BadRecipient)),
        ("RCPT TO:<user@contoso.com>>", Err(BadRecipient)),
        ("RCPT TO:<<<user@contoso.com>>>", Err(BadRecipient)),
        ("RCPT TO:<<a@b.example> <user@contoso.com>>", Err(BadRecipient)),
        ("RCPT TO:<user@conto_so.com>", Ok("user@conto_so.com")),
        ("RCPT TO:<user@contoso.com.>", Ok("user@contoso.com")),
        ("RCPT TO:<user@contoso.com..>", Err(BadRecipient)),
        ("RCPT TO:<user@[IPv6:nonsense]>", Err(BadRecipient)),
        ("RCPT TO:<user@contoso.com>junk", Err(BadRecipient)),
        ("RCPT TO:<user@contoso.com", Err(BadRecipient)),
        ("RCPT TO:<us\x1ber@contoso.com>", Err(BadRecipient)),
        ("RCPT TO:<usér@contoso.com>", Ok("usér@contoso.com")),
        ("RCPT TO:<\"jörg b\"@bücher.example>", Ok("\"jörg b\"@bücher.example")),
        ("RCPT TO:<user@ｃontoso.com>", Err(BadRecipient)),
        ("RCPT TO:<us\u{85}er@contoso.com>", Err(BadRecipient)),
        ("RCPT TO:<user@contoso.com> NOTIFY=NEVER", Err(UnknownParameter)),
        ("RCPT <user@contoso.com>", Err(Syntax)),
        ("RCPT", Err(Syntax)),
        (&longest_line, Ok(longest.as_str())),
        (&umlauts_line, Ok(umlauts.as_str())),
        (&longer, Err(BadRecipient)),
        (&long_path, Err(BadRecipient)),
    ] {
        assert_eq!(recipient(line), wanted.map(str::to_owned), "{line}");
    }
}

#[test]
fn mail_takes_the_offered_parameters() {
    use CommandError::*;
    let mail = |size, body, smtp_utf8| {
        let reverse_path = Mailbox::parse("a@b.example");
        Ok(Command::Mail(MailFrom { reverse_path, size, body, smtp_utf8 }))
    };
    for (line, wanted) in [
        ("MAIL FROM:<a@b.example>", mail(None, None, false)),
        (
            "MAIL FROM:<a@b.example> SIZE=1000 BODY=8BITMIME SmtpUtf8",
            mail(Some(1000), Some(Body::EightBitMime), true),
        ),
        ("MAIL FROM:<a@b.example> body=7bit", mail(None, Some(Body::SevenBit), false)),
        ("MAIL FROM:<a@b.example> SIZE=99999999999999999999", mail(Some(u64::MAX), None, false)),
        ("MAIL FROM:<a@b.example> SIZE=1 SIZE=2", mail(Some(2), None, false)),
        ("MAIL FROM:a@b.example\tSIZE=1", mail(Some(1), None, false)),
        ("MAIL FROM:<a@b.example> AUTH=<>", mail(None, None, false)),
        ("MAIL FROM:<a@b.example> AUTH", Err(UnknownParameter)),
        ("MAIL FROM:<a@b.example> SIZE=", Err(Syntax)),
        ("MAIL FROM:<a@b.example> SIZE=-1", Err(Syntax)),
        ("MAIL FROM:<a@b.example> BODY=BINARYMIME", Err(Syntax)),
        ("MAIL FROM:<a@b.example> SMTPUTF8", mail(None, None, true)),
        ("MAIL FROM:<a@b.example> SMTPUTF8=", Err(Syntax)),
        ("MAIL FROM:<a@b.example> SMTPUTF8=1", Err(Syntax)),
        ("MAIL FROM:<a@b.example> SMTPUTF8 SMTPUTF8", mail(None, None, true)),
        ("MAIL FROM:<a@b.example> SIZE", Err(Syntax)),
        ("MAIL FROM:<a@b.example> BODY", Err(Syntax)),
        ("MAIL FROM:<a@b.example> FROB=1", Err(UnknownParameter)),
        ("MAIL FROM:<a@b.example.>", mail(None, None, false)),
        ("MAIL FROM: a@b.example", mail(None, None, false)),
        ("MAIL FROM:", Err(BadSender)),
        ("MAIL", Err(Syntax)),
    ] {
        assert_eq!(Command::parse(line.as_bytes()), wanted, "{line}");
    }
    let null = MailFrom { reverse_path: None, size: None, body: None, smtp_utf8: false };
    for line in ["MAIL FROM:<>", "MAIL FROM: < >", "MAIL FROM:<>;", "MAIL FROM:<<>>"] {
        assert_eq!(Command::parse(line.as_bytes()), Ok(Command::Mail(null.clone())), "{line}");
    }
    let sized = Command::Mail(MailFrom { size: Some(5), ..null });
    assert_eq!(Command::parse(b"MAIL FROM:<>SIZE=5"), Ok(sized));
    assert_eq!(Command::parse(b"MAIL FROM:<>a@b.example>"), Err(UnknownParameter));
    assert_eq!(Command::parse(b"MAIL FROM:<a@b.example>SIZE=5"), Err(BadSender));
}

#[test]
fn other_commands_are_read_with_their_arguments() {
    use CommandError::*;
    let hello = HelloName("mail.example".to_owned());
    let chunk = |size, last| Ok(Command::Bdat(Chunk { size, last }));
    let long_hello = format!("EHLO {}", "x".repeat(400));
    let long_mail = format!("MAIL FROM:<a@b.example> {}", "x".repeat(MAIL_LINE_MAX));
    for (line, wanted) in [
        ("EHLO mail.example", Ok(Command::Ehlo(hello.clone()))),
        ("helo mail.example  ", Ok(Command::Helo(hello))),
        ("EHLO", Err(NoName)),
        ("EHLO a b", Ok(Command::Ehlo(HelloName("a?b".to_owned())))),
        ("EHLO m\u{e9}l.example", Ok(Command::Ehlo(HelloName("m??l.example".to_owned())))),
        (&long_hello, Ok(Command::Ehlo(HelloName("x".repeat(255))))),
        ("DATA", Ok(Command::Data)),
        ("DATA now", Err(Syntax)),
        ("RSET now", Err(Syntax)),
        ("QUIT now", Ok(Command::Quit)),
        ("NOOP text", Ok(Command::Noop)),
        ("HELP MAIL", Ok(Command::Help)),
        ("VRFY user", Ok(Command::Vrfy)),
        ("starttls", Ok(Command::StartTls)),
        ("STARTTLS now", Err(Syntax)),
        ("XCLIENT ADDR=192.0.2.1", Ok(Command::NotOffered)),
        ("XFORWARD ADDR=192.0.2.1", Ok(Command::NotOffered)),
        ("PROXY TCP6 ::1 ::1 1 2", Ok(Command::OtherProtocol)),
        ("PROXYING", Err(Unknown)),
        ("GET / HTTP/1.1", Ok(Command::OtherProtocol)),
        ("BDAT 0", chunk(0, false)),
        ("bdat 1000 last", chunk(1000, true)),
        ("BDAT 18446744073709551615 LAST", chunk(u64::MAX, true)),
        ("BDAT 18446744073709551616", Err(BadChunk)),
        ("BDAT", Err(BadChunk)),
        ("BDAT -1", Err(BadChunk)),
        ("BDAT +1", Err(BadChunk)),
        ("BDAT 0x10", Err(BadChunk)),
        ("BDAT 1 LASTING", Err(BadChunk)),
        ("BDAT 1 LAST LAST", Err(BadChunk)),
        ("BDAT LAST 1", Err(BadChunk)),
        ("BDAT1", Err(Unknown)),
        ("", Err(Unknown)),
        (&long_mail, Err(TooLong)),
    ] {
        assert_eq!(Command::parse(line.as_bytes()), wanted, "{line}");
    }
}
