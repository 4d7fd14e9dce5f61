//! Real senders: OpenSSL, Python, and Debian's mail servers, with TLS, in chunks, and with a
//! certificate of their own.

use std::{
    fs,
    io::Write as _,
    net::{Ipv6Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use sixgate_tests::{
    certs::Authority,
    daemon::Daemon,
    dns::{DnsServer, Zone},
    exim::Exim,
    gate::Need,
    opensmtpd::OpenSmtpd,
    postfix::Postfix,
    sender::{Outcome, Sender, submit, submit_body},
    site::{GATE, PEER, SENDER, Site},
};
use tokio::runtime::{self, Runtime};

use crate::{can_run, site, site_with_tls};

/// What senders outside find in the DNS.
const OUTSIDE: &str = "
    contoso.com MX 10 gate.example.
    gate.example AAAA 2001:db8:25::25
";

/// Its arguments: the gate, and the authority of its certificate.
const PYTHON: &str = r#"
import email.message, email.policy, smtplib, ssl, sys
message = email.message.EmailMessage(policy=email.policy.SMTPUTF8)
message["Subject"] = "für dich"
message["From"] = "jörg@sender.example"
message["To"] = "用户@contoso.com"
message.set_content("so\n")
context = ssl.create_default_context(cafile=sys.argv[2])
context.check_hostname = False
with smtplib.SMTP(sys.argv[1], 25, local_hostname="mail.sender.example") as smtp:
    smtp.starttls(context=context)
    smtp.send_message(message)
"#;

#[test]
fn openssl_gets_on_with_every_version_that_is_spoken_and_with_no_other() {
    if !can_run(&[Need::Program("openssl")]) {
        return;
    }
    let (site, _daemon, ca) = serve_with_tls();
    for (version, wanted) in [
        ("-tls1_3", Some("New, TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384")),
        ("-tls1_2", Some("New, TLSv1.2, Cipher is ECDHE-ECDSA-AES256-GCM-SHA384")),
        ("-tls1_1", None),
    ] {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-starttls", "smtp", "-crlf", "-ign_eof", "-verify_return_error", version])
            .args(["-connect", &format!("[{GATE}]:25"), "-servername", "gate.example", "-CAfile"])
            .arg(&ca)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = site.outside.spawn(&mut command).unwrap();
        // it reads this once the handshake is over
        child.stdin.take().unwrap().write_all(b"EHLO mail.sender.example\nquit\n").unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match wanted {
            Some(cipher) => {
                for wanted in [cipher, "Verify return code: 0 (ok)", "250-gate.example", "221 2.0.0 gate"] {
                    assert!(said.contains(wanted), "{version}: {wanted} in\n{said}");
                }
            }
            None => assert!(!said.contains("250-gate.example"), "{version}: {said}"),
        }
    }
}

#[test]
fn postfix_that_insists_on_tls_delivers_and_is_trusted_by_its_certificate() {
    if !can_run(&[Need::Postfix]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    let partners = Authority::new("partners");
    let ca = site.folder().join("partners.pem");
    fs::write(&ca, partners.pem()).unwrap();
    let site =
        site.configured(&format!("tls.client_trust = {{ ca = {ca:?}, names = [\"mail.partner.example\"] }}"));
    let daemon = site.serve(&["--no-xdp"]);
    add_sender(&site);
    let _dns = serve_dns(&site);
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ours = folder.path().join("ca.pem");
    fs::write(&ours, authority.pem()).unwrap();
    let pair = partners.issue("mail.partner.example").in_one_file(folder.path()).unwrap();
    let postfix = Postfix::start_sending(
        &site.outside,
        &format!(
            "smtp_tls_security_level = verify\nsmtp_tls_CAfile = {}\nsmtp_tls_chain_files = {}\n\
             smtp_tls_verify_cert_match = hostname\nsmtp_tls_loglevel = 1\n",
            ours.display(),
            pair.display()
        ),
    )
    .unwrap();
    // no SPF record and no signature: only the certificate proves its identity
    submit(&site.outside, "a@unproven.example", "user@contoso.com").unwrap();
    let attempt = postfix.attempt("user@contoso.com").unwrap();
    assert_eq!(attempt.outcome, Outcome::Sent, "{}\n{}", attempt.line, postfix.log());
    postfix.wait_for_log("Verified TLS connection established to gate.example").unwrap();
    let line = daemon.wait_for_log("trusted_by=").unwrap();
    assert!(line.contains("mail.partner.example"), "{line}");
    let delivered = site.delivered();
    assert_eq!(delivered.len(), 1, "{delivered:?}");
    for wanted in [" with ESMTPS id ", "(version=TLS1.3 cipher=TLS_", "Subject: to a gate"] {
        assert!(delivered[0].contains(wanted), "{wanted} in\n{}", delivered[0]);
    }
}

/// Debian's mail servers encrypt where they can, without being told to. Exim sends chunks, and
/// behind the last one QUIT and the end of its side.
#[test]
fn mail_servers_deliver_in_the_clear_and_through_tls_in_chunks_or_not() {
    if !can_run(&[Need::Postfix, Need::Exim, Need::OpenSmtpd]) {
        return;
    }
    // several chunks, and lines with dots
    let body: String = (0..3000).map(|line| format!("..{line} a line of some length\n")).collect();
    for (with_tls, protocol) in [(false, " with ESMTP id "), (true, " with ESMTPS id ")] {
        for name in ["Postfix", "Exim", "OpenSMTPD"] {
            let site = if with_tls { site_with_tls("").0 } else { site("") };
            let daemon = site.serve(&["--no-xdp"]);
            add_sender(&site);
            let _dns = serve_dns(&site);
            let sender: Box<dyn Sender> = match name {
                "Postfix" => {
                    Box::new(Postfix::start_sending(&site.outside, "smtp_tls_security_level = may").unwrap())
                }
                "Exim" => Box::new(Exim::start(&site.outside).unwrap()),
                _ => Box::new(OpenSmtpd::start(&site.outside).unwrap()),
            };
            submit_body(&site.outside, "a@sender.example", "user@contoso.com", &body).unwrap();
            let attempt = sender.attempt("user@contoso.com").unwrap();
            let logs = || format!("{}\n{}\n{}", attempt.line, sender.log(), daemon.log());
            assert_eq!(attempt.outcome, Outcome::Sent, "{name}: {}", logs());
            // K: by CHUNKING (the specification of Exim, 52.13)
            assert!(name != "Exim" || attempt.line.contains(" K "), "{}", attempt.line);
            let delivered = site.delivered();
            let [message] = delivered.as_slice() else { panic!("{name}: {delivered:?}") };
            assert!(message.contains(protocol), "{name}: {message}");
            assert!(
                message.ends_with(&format!("\r\n\r\n{}", body.replace('\n', "\r\n"))),
                "{name}: {message}"
            );
        }
    }
}

#[test]
fn python_sends_with_addresses_outside_ascii_through_tls() {
    if !can_run(&[Need::Program("python3")]) {
        return;
    }
    let (site, _daemon, ca) = serve_with_tls();
    let mut python = Command::new("python3");
    python.args(["-c", PYTHON, GATE]).arg(&ca).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = site.outside.spawn(&mut python).unwrap().wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let delivered = site.delivered();
    let [message] = delivered.as_slice() else { panic!("{delivered:?}") };
    for wanted in [" with UTF8SMTPS id ", "\r\n\tfor <用户@contoso.com>;", "Subject: für dich\r\n"] {
        assert!(message.contains(wanted), "{wanted} in\n{message}");
    }
}

/// Gives the outside its address.
/// A gate with a certificate, and the file of the authority behind it.
fn serve_with_tls() -> (Site, Daemon, PathBuf) {
    let (site, authority) = site_with_tls("");
    let daemon = site.serve(&["--no-xdp"]);
    add_sender(&site);
    let ca = site.folder().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    (site, daemon, ca)
}

fn add_sender(site: &Site) {
    site.outside.add_address(PEER, format!("{SENDER}/64").parse().unwrap()).unwrap();
}

fn serve_dns(site: &Site) -> (DnsServer, Runtime) {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 53);
    let (udp, tcp) = (site.outside.udp(address).unwrap(), site.outside.listen(address).unwrap());
    let server = {
        let _inside = runtime.enter();
        Zone::parse(OUTSIDE).unwrap().serve_on(udp, tcp).unwrap()
    };
    (server, runtime)
}
