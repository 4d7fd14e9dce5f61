//! The console of the README: its command, run by the example against a DNS server in this process,
//! prints what the README shows.
//!
//! It needs neither root nor network. The checks themselves are tried by the suites.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
    thread,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record,
        rdata::{AAAA, MX, PTR, SOA, TXT},
    },
};

#[path = "../examples/check_message.rs"]
#[expect(dead_code, reason = "main() is the example's own")]
mod check_message;

#[tokio::test]
async fn the_console_of_the_readme_is_what_the_example_prints() {
    let (command, wanted) = console();
    let (_, arguments) = command.split_once(" -- ").expect("arguments of the example");
    let message = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/message.eml");
    let dns = serve(zone()).to_string();
    let arguments = arguments
        .split(' ')
        .map(|argument| if argument.ends_with(".eml") { message } else { argument })
        .chain(["--dns", &dns])
        .map(str::to_owned);
    let mut printed = Vec::new();
    check_message::run(arguments, &mut printed).await.expect("a report");
    assert_eq!(String::from_utf8(printed).expect("text").replace("\r\n", "\n"), wanted);
}

/// The first command of the README, and its output.
fn console() -> (String, String) {
    let readme = include_str!("../README.md");
    let (_, console) = readme.split_once("```console\n$ ").expect("a console");
    let (console, _) = console.split_once("```\n").expect("its end");
    let lines = console.replace(" \\\n", " ");
    let (command, output) = lines.split_once('\n').expect("an output");
    let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
    (command, output.to_owned())
}

/// The records of the README's sender; the key is that of RFC 8463 A.2.
fn zone() -> Vec<Record> {
    let name = |text: &str| Name::from_ascii(text).expect("a name");
    let server = || name("mail.football.example.com.");
    let address = "2001:db8::25".parse().expect("an address");
    let text = |text: &str| RData::TXT(TXT::new(vec![text.to_owned()]));
    let key = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    let records = [
        (Name::from(std::net::IpAddr::V6(address)), RData::PTR(PTR(server()))),
        (server(), RData::AAAA(AAAA(address))),
        (name("football.example.com."), RData::MX(MX::new(10, server()))),
        (name("football.example.com."), text("v=spf1 mx -all")),
        (name("brisbane._domainkey.football.example.com."), text(key)),
    ];
    records.map(|(name, data)| Record::from_rdata(name, TTL, data)).into()
}

/// Answers from `zone` by UDP at the returned address, until the process ends.
fn serve(zone: Vec<Record>) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback");
    let address = socket.local_addr().expect("its address");
    thread::spawn(move || {
        let names: BTreeSet<Name> = zone.iter().map(|record| record.name.to_lowercase()).collect();
        let mut buffer = [0; 512];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).expect("a datagram");
            let request = Message::from_vec(&buffer[..length]).expect("a request");
            let question = request.queries[0].clone();
            let mut response = Message::response(request.metadata.id, request.metadata.op_code);
            if !names.contains(&question.name().to_lowercase()) {
                response.metadata.response_code = ResponseCode::NXDomain;
            }
            let is_asked = |record: &&Record| {
                record.name.to_lowercase() == question.name().to_lowercase()
                    && record.record_type() == question.query_type()
            };
            response.answers = zone.iter().filter(is_asked).cloned().collect();
            if response.answers.is_empty() {
                response.authorities = vec![start_of_authority()];
            }
            response.add_query(question);
            socket.send_to(&response.to_vec().expect("a response"), client).expect("a datagram");
        }
    });
    address
}

/// How long there is nothing at a name (RFC 2308 5).
fn start_of_authority() -> Record {
    let data = SOA::new(Name::root(), Name::root(), 1, 0, 0, 0, TTL);
    Record::from_rdata(Name::root(), TTL, RData::SOA(data))
}

const TTL: u32 = 300;
