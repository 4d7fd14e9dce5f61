//! The listener: who is answered, what is refused, and how a reload changes it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
};

use sixgate_tests::{
    http::{self, ADDRESS, HttpAnswer},
    site::{GATE, OTHER, SENDER, Site},
};

use crate::{can_run, site};

#[track_caller]
fn refused(site: &Site, request: &str, status: u16, text: &str) -> HttpAnswer {
    let answer = http::send(&site.gate, request).unwrap();
    assert!(answer.status == status && answer.body.contains(text), "{request}: {answer:?}");
    answer
}

#[test]
fn only_this_host_is_answered_and_only_for_reading() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let daemon = site.serve(&["--no-xdp"]);
    let ok = http::get(&site.gate, "/healthz").unwrap();
    assert_eq!((ok.status, ok.body.as_str()), (200, "ok\n"));
    let policy = ok.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(ok.field("x-content-type-options"), Some("nosniff"));
    assert_eq!(ok.field("cache-control"), Some("no-store"));
    let head = http::send(&site.gate, "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    assert_eq!(head.status, 200);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "CONNECT"] {
        let target = if method == "CONNECT" { "localhost:80" } else { "/metrics" };
        let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        let answer = refused(&site, &request, 405, "only GET and HEAD");
        assert_eq!(answer.field("allow"), Some("GET, HEAD"));
    }
    for host in ["evil.example", "evil.example:9625", GATE, "localhost.evil.example"] {
        refused(&site, &format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n"), 421, "names another host");
    }
    refused(&site, "GET /metrics HTTP/1.1\r\n\r\n", 421, "names another host");
    refused(&site, "GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404, "not found");
    // too much of a head
    let long = "x".repeat(64 * 1024);
    let many = "X: y\r\n".repeat(1000);
    for (request, statuses) in [
        (format!("GET /metrics?{long} HTTP/1.1\r\nHost: localhost\r\n\r\n"), [414, 431]),
        (format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"), [431, 431]),
        ("NONSENSE\r\n\r\n".to_owned(), [400, 400]),
    ] {
        let mut stream = http::connect(&site.gate).unwrap();
        // the daemon may close before it has read all
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let is_refused = statuses.iter().any(|status| answer.starts_with(&format!("HTTP/1.1 {status} ")));
        assert!(is_refused || answer.is_empty(), "{answer}");
    }
    // clients that send nothing take nothing from mail
    let idle: Vec<_> = (0..40).map(|_| http::connect(&site.gate).unwrap()).collect();
    assert_eq!(site.connect(SENDER, GATE).reply().unwrap().code, 220);
    drop(idle);
    assert_eq!(http::get(&site.gate, "/healthz").unwrap().status, 200);
    daemon.stop().unwrap();
}

#[test]
fn a_listener_for_other_hosts_is_refused_by_name() {
    if !can_run(&[]) {
        return;
    }
    let site = site("http.listen = \"\"");
    let daemon = site.serve(&["--no-xdp"]);
    assert!(http::get(&site.gate, "/").is_err(), "there is a listener without a setting");
    for address in ["[::]:9625", "0.0.0.0:9625", "[2001:db8:25::25]:9625"] {
        site.write(&format!("http.listen = {address:?}"));
        let wanted = [address, " is not a loopback address", "use `[::1]:9625` or `unix:/run/sixgate/http`"];
        site.expect("config check", 1, &wanted);
        site.expect("reload", 1, &wanted);
    }
    daemon.stop().unwrap();
}

#[test]
fn a_reload_opens_moves_and_closes_the_listener() {
    if !can_run(&[]) {
        return;
    }
    let site = site("http.listen = \"\"");
    let socket = site.folder().join("http");
    let at_socket = format!("http.listen = \"unix:{}\"", socket.display());
    let daemon = site.serve(&["--no-xdp"]);
    let by_socket = || http::send_to_socket(&socket, "GET /ready HTTP/1.1\r\nHost: any.example\r\n\r\n");
    site.write(&format!("http.listen = {ADDRESS:?}"));
    site.expect("reload", 0, &["http.listen"]);
    assert_eq!(http::get(&site.gate, "/ready").unwrap().body, "ready\n");
    // not while something else listens there: all stays as it was
    let taken = site.gate.run(|| TcpListener::bind("127.0.0.1:9626")).unwrap();
    site.write("http.listen = \"127.0.0.1:9626\"\nmode = \"shadow\"");
    site.expect("reload", 1, &["cannot listen on 127.0.0.1:9626: another process listens there"]);
    drop(taken);
    assert_eq!(http::get(&site.gate, "/ready").unwrap().status, 200);
    site.expect("status", 1, &["           mode enforce"]);
    fs::write(&socket, "the only copy").unwrap();
    site.write(&at_socket);
    site.expect("reload", 1, &["a file that is not a socket is there already: it stays as it is"]);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "the only copy");
    fs::remove_file(&socket).unwrap();
    // what a killed daemon left is replaced
    drop(UnixListener::bind(&socket).unwrap());
    site.expect("reload", 0, &["http.listen"]);
    assert!(http::get(&site.gate, "/ready").is_err());
    assert_eq!(by_socket().unwrap().body, "ready\n");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    // one that was removed is made again
    fs::remove_file(&socket).unwrap();
    daemon.wait_for_log("the socket of http.listen was removed: it is made again").unwrap();
    daemon.wait_for_lines("listening for HTTP", 3).unwrap();
    assert_eq!(by_socket().unwrap().status, 200);
    site.write("");
    site.expect("reload", 0, &["http.listen"]);
    assert!(by_socket().is_err());
    assert!(!socket.exists(), "the file of the socket is left");
    daemon.stop().unwrap();
}

#[test]
fn a_daemon_whose_listener_cannot_be_opened_serves_mail_and_tries_again() {
    if !can_run(&[]) {
        return;
    }
    let site = site("");
    let taken = site.gate.run(|| TcpListener::bind(ADDRESS)).unwrap();
    let daemon = site.serve(&["--no-xdp"]);
    let problem = format!("http.listen: cannot listen on {ADDRESS}: another process listens there");
    daemon.wait_for_log(&problem).unwrap();
    site.expect("status", 1, &[&problem]);
    assert_eq!(site.connect(SENDER, GATE).reply().unwrap().code, 220);
    drop(taken);
    daemon.wait_for_log("listening for HTTP").unwrap();
    assert_eq!(http::get(&site.gate, "/healthz").unwrap().status, 200);
    daemon.stop().unwrap();
}

#[test]
fn ready_names_what_keeps_mail_from_being_taken() {
    if !can_run(&[]) {
        return;
    }
    // no mail server ever answered there
    let site = site("next_hop.smtp = \"[::1]:10025\"");
    let daemon = site.serve(&["--no-xdp"]);
    let answer = http::get(&site.gate, "/ready").unwrap();
    let is_named = answer.body.starts_with("not ready: the next hop is not usable");
    assert!(answer.status == 503 && is_named, "{answer:?}");
    assert_eq!(http::get(&site.gate, "/healthz").unwrap().status, 200);
    site.write("");
    let maildir = site.folder().join("Maildir");
    site.write(&format!("next_hop.maildir = {maildir:?}"));
    site.expect("reload", 0, &["next_hop"]);
    assert_eq!(http::get(&site.gate, "/ready").unwrap().body, "ready\n");
    // a session keeps the daemon, which takes no other mail any more
    let mut client = site.connect(SENDER, OTHER);
    client.reply().unwrap();
    daemon.stop().unwrap();
}
