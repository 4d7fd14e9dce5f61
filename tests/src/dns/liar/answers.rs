//! The octets of an answer, with what is wrong with it.
//!
//! Whether one is sent at all, from where and how often is the business of [`super`].

use std::io;

use hickory_server::proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{AAAA, CNAME, NS, PTR, SOA, TXT},
    },
    serialize::binary::BinEncodable as _,
};

use super::{By, Lie};

/// The answer to `request` as `lie` has it.
pub(super) fn answer(lie: Lie, by: By, request: &Message) -> io::Result<Vec<u8>> {
    let question = request.queries.first().cloned().unwrap_or_default();
    let mut message = Message::response(request.id, OpCode::Query);
    let elsewhere = Query::query(other_name(), question.query_type());
    let complaint = match lie {
        Lie::EdnsFormErr | Lie::EdnsFormErrBare => Some(ResponseCode::FormErr),
        Lie::EdnsNotImp => Some(ResponseCode::NotImp),
        Lie::EdnsBadVers => Some(ResponseCode::BADVERS),
        Lie::EdnsServFail => Some(ResponseCode::ServFail),
        Lie::EdnsRefused => Some(ResponseCode::Refused),
        _ => None,
    };
    if let Some(complaint) = complaint.filter(|_| request.edns.is_some()) {
        message.metadata.response_code = complaint;
        if complaint == ResponseCode::BADVERS {
            let mut edns = Edns::new();
            edns.set_rcode_high(1);
            message.set_edns(edns);
        }
        if lie != Lie::EdnsFormErrBare {
            message.add_query(question);
        }
        return message.to_vec().map_err(io::Error::other);
    }
    match lie {
        Lie::NoQuestion => {}
        Lie::LowerCase | Lie::LowerCaseHangupByTcp | Lie::LowerCaseSilenceByTcp => {
            let name = question.name().to_lowercase();
            message.add_query(Query::query(name, question.query_type()));
        }
        Lie::OtherQuestion => {
            message.add_query(elsewhere);
        }
        Lie::OtherQuestionByTcp if by == By::Tcp => {
            message.add_query(elsewhere);
        }
        _ => {
            message.add_query(question.clone());
        }
    }
    let mut record = Record::from_rdata(question.name().clone(), TTL, data(question.query_type()));
    match lie {
        Lie::OtherId => message.metadata.id ^= 1,
        Lie::OtherName => record.name = other_name(),
        Lie::OtherType => {
            let kind = question.query_type();
            record.data = data(if kind == RecordType::TXT { RecordType::AAAA } else { RecordType::TXT });
        }
        Lie::OtherClass => record.dns_class = DNSClass::CH,
        Lie::Truncated => message.metadata.truncation = true,
        Lie::TruncatedHeader | Lie::TruncatedQuestion => message.metadata.truncation = by == By::Udp,
        Lie::EmptyNxDomain => message.metadata.response_code = ResponseCode::NXDomain,
        Lie::HangupByTcp | Lie::SilenceByTcp => message.metadata.truncation = true,
        Lie::OtherQuestionByTcp => message.metadata.truncation = by == By::Udp,
        Lie::CircularAlias => record.data = RData::CNAME(CNAME(question.name().clone())),
        Lie::EndlessAlias => {
            let next = other_name().prepend_label(question.name().num_labels().to_string());
            let next = next.map_err(io::Error::other)?;
            let next = if *question.name() == next { other_name() } else { next };
            record.data = RData::CNAME(CNAME(next));
        }
        _ => {}
    }
    match lie {
        Lie::OtherSection => {
            message.add_additional(record);
        }
        Lie::CircularAliases => {
            message.add_answers(aliases(question.name(), &[1, 2, 1])?);
            let foreign = SOA::new(other_name(), other_name(), 1, 60, 60, 60, 60);
            message.add_authority(Record::from_rdata(Name::root(), TTL, RData::SOA(foreign)));
        }
        Lie::ManyAliases => {
            let numbers: Vec<u32> = (0..MANY).collect();
            record.name = number(MANY - 1)?;
            message.add_answers(aliases(question.name(), &numbers)?);
            message.add_answer(record);
        }
        Lie::Empty | Lie::EmptyNxDomain => {}
        Lie::Referral => {
            message.add_authority(Record::from_rdata(Name::root(), TTL, RData::NS(NS(other_name()))));
        }
        _ => {
            message.add_answer(record);
        }
    }
    if lie == Lie::Oversized && by == By::Udp {
        let filler = RData::TXT(TXT::new(vec!["x".repeat(250); OVERSIZE / 250]));
        message.add_additional(Record::from_rdata(other_name(), TTL, filler));
    }
    spoil(lie, by, &question, message.to_vec().map_err(io::Error::other)?)
}

/// Applies the lie to the octets of a message.
fn spoil(lie: Lie, by: By, question: &Query, mut octets: Vec<u8>) -> io::Result<Vec<u8>> {
    match lie {
        // behind header and question, where the answer's name begins
        Lie::CircularName => {
            let at = HEADER_OCTETS + question.name().to_bytes().map_err(io::Error::other)?.len() + 4;
            let pointer = u16::try_from(at).map_err(io::Error::other)? | 0xc000;
            octets.splice(at..at + 2, pointer.to_be_bytes());
        }
        Lie::CutOff => octets.truncate(octets.len() - 3),
        Lie::TruncatedHeader if by == By::Udp => {
            octets.truncate(HEADER_OCTETS);
            octets[COUNTS_AT..].fill(0);
        }
        Lie::TruncatedQuestion if by == By::Udp => octets.truncate(HEADER_OCTETS + 4),
        Lie::Garbage => octets[2..].fill(0xff),
        _ => {}
    }
    Ok(octets)
}

/// Data that would please any asker.
fn data(kind: RecordType) -> RData {
    match kind {
        RecordType::PTR => RData::PTR(PTR(other_name())),
        RecordType::TXT => RData::TXT(TXT::new(vec!["v=spf1 +all".to_owned()])),
        _ => RData::AAAA(AAAA::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 4)),
    }
}

/// CNAMEs from `name` to the first number, and so on.
fn aliases(name: &Name, numbers: &[u32]) -> io::Result<Vec<Record>> {
    let mut owner = name.clone();
    let mut records = Vec::new();
    for target in numbers {
        let target = number(*target)?;
        records.push(Record::from_rdata(owner, TTL, RData::CNAME(CNAME(target.clone()))));
        owner = target;
    }
    Ok(records)
}

fn number(number: u32) -> io::Result<Name> {
    other_name().prepend_label(number.to_string()).map_err(io::Error::other)
}

fn other_name() -> Name {
    Name::from_ascii("liar.example.").expect("it is a name")
}

const TTL: u32 = 300;
const HEADER_OCTETS: usize = 12;
/// Where the numbers of a header begin that count its questions and records.
const COUNTS_AT: usize = 4;
/// CNAMEs of one answer, which still fits a UDP datagram.
const MANY: u32 = 20;
/// Nearly all that a UDP datagram can hold.
const OVERSIZE: usize = 60_000;
