//! DKIM beside dkimpy: both sign, both verify, over the same DNS server.

mod generate;
mod judge;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    num::NonZeroU8,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use data_encoding::BASE64;
use hickory_server::proto::rr::{Name, RData, rdata::TXT};
use mail_auth::dkim::Canonicalization;
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Value, json};
use sixgate::message_store::StoredMessage;
use sixgate_auth::{
    dkim::{DkimResult, DkimSettings, DkimSignature, DkimVerifier},
    dns::{DnsBounds, Resolver},
};
use tokio::{runtime::Runtime, time::Instant};

use self::generate::{Algorithm, Length, Plan, Signer};
use sixgate_tests::{
    dns::Zone,
    sign::{self, ByHand},
};

/// How long one question, and one message, waits; the servers answer at once.
const TIMEOUT: Duration = Duration::from_secs(10);
const DKIMPY: &str = include_str!("dkim/dkimpy.py");

/// Verifies `count` messages made from `seed` here and by the dkimpy of `python`, and prints how
/// often they differ and why, and each difference that is not judged yet. True if there was none of
/// these.
///
/// # Errors
/// When a server or the other verifier does not run.
pub fn dkim(python: &Path, seed: u64, count: u32) -> Result<bool> {
    let plans = plans(seed, count)?;
    let runtime = Runtime::new().context("cannot start a runtime")?;
    let _inside = runtime.enter();
    let server = zone(&plans)?.serve().context("cannot start a DNS server")?;
    let dns = Resolver::within(DnsBounds::default(), &[server.address()], TIMEOUT, NonZeroU8::MIN);
    let verifier = DkimVerifier::new(DkimSettings::DEFAULT);
    let mut dkimpy = Dkimpy::start(python, server.address().port())?;
    let mut counts = BTreeMap::<String, usize>::new();
    let mut unjudged = 0;
    for (number, plan) in plans.iter().enumerate() {
        let message = message(plan, number, &mut dkimpy)?;
        let theirs = dkimpy.verify(&message)?;
        let found = runtime.block_on(verifier.verify(
            &dns,
            StoredMessage::from(message.clone().into_bytes()),
            Instant::now() + TIMEOUT,
        ));
        let Some(ours) = found.signatures.first() else {
            ensure!(!theirs.passes, "dkimpy passes what has no signature:\n{message}");
            *counts.entry("no signature left".to_owned()).or_default() += 1;
            continue;
        };
        let passes = ours.result == DkimResult::Pass;
        let kind = match (passes == theirs.passes, passes) {
            (true, true) => "both pass".to_owned(),
            (true, false) => "both do not pass".to_owned(),
            (false, _) => {
                let mended = dkimpy.verify(&judge::readable(&message))?;
                match judge::judge(plan, &message, ours, &theirs, &mended) {
                    Some(judgement) => {
                        format!("{}: {judgement}", if passes { "ours passes" } else { "theirs passes" })
                    }
                    None => {
                        unjudged += 1;
                        println!("{}", shown(number, plan, &message, ours, &theirs));
                        "not judged".to_owned()
                    }
                }
            }
        };
        *counts.entry(kind).or_default() += 1;
    }
    for (kind, times) in &counts {
        println!("{times:>6} {kind}");
    }
    println!("{unjudged} differences not judged, of {count} messages from seed {seed}");
    ensure!(count > 0, "nothing was compared");
    Ok(unjudged == 0)
}

/// The result of dkimpy.
#[derive(Clone, Debug)]
struct Theirs {
    passes: bool,
    said: String,
}

fn plans(seed: u64, count: u32) -> Result<Vec<Plan>> {
    let mut octets = [0; 32];
    octets[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &octets);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let strategy = generate::plan();
    let mut plan = || {
        let tree = strategy.new_tree(&mut runner).map_err(|reason| anyhow::anyhow!("no plan: {reason}"))?;
        Ok(tree.current())
    };
    (0..count).map(|_| plan()).collect()
}

fn selector(number: usize) -> String {
    format!("s{number}")
}

fn zone(plans: &[Plan]) -> Result<Zone> {
    let mut zone = Zone::default();
    for (number, plan) in plans.iter().enumerate() {
        let name = Name::from_ascii(format!("{}._domainkey.a.example.", selector(number)))?;
        let (kind, public) = match plan.algorithm {
            Algorithm::Rsa => ("", sign::RSA2048_RECORD),
            Algorithm::Ed25519 => ("k=ed25519; ", sign::ED25519_RECORD),
        };
        let public: String = public.split('"').collect::<String>().split_whitespace().collect();
        let (_, public) = public.split_once("p=").context("a record with a key")?;
        let text = format!("{}{kind}p={public}{}", plan.record.0, plan.record.1);
        for text in [Some(text.as_str()), plan.beside].into_iter().flatten() {
            let strings = text.as_bytes().chunks(200).map(|part| String::from_utf8_lossy(part).into_owned());
            zone.insert(name.clone(), RData::TXT(TXT::new(strings.collect())));
        }
    }
    Ok(zone)
}

/// The message as it arrives.
fn message(plan: &Plan, number: usize, dkimpy: &mut Dkimpy) -> Result<String> {
    let unsigned = format!("{}\r\n{}", plan.fields.concat(), plan.body);
    let by_dkimpy = match plan.signer {
        Signer::Dkimpy => dkimpy.sign(plan, number, &unsigned)?,
        Signer::ByHand => None,
    };
    // it does not sign everything that it verifies
    let signature = by_dkimpy.unwrap_or_else(|| by_hand(plan, number));
    let signed = format!("{signature}{unsigned}");
    Ok(plan.changes.iter().fold(signed, |message, change| change.apply(&message)))
}

fn by_hand(plan: &Plan, number: usize) -> String {
    let (header_relaxed, body_relaxed) = plan.relaxed;
    let form = |relaxed| if relaxed { "relaxed" } else { "simple" };
    let body = canonical_body(&plan.body, body_relaxed);
    let (length, signed) = match plan.length {
        Length::Unsaid => (String::new(), body.as_str()),
        Length::All => (format!("l={}; ", body.len()), body.as_str()),
        Length::More(more) => (format!("l={}; ", body.len() + more), body.as_str()),
        Length::Less(less) => {
            let signed = &body[..body.len().saturating_sub(less)];
            (format!("l={}; ", signed.len()), signed)
        }
    };
    let mut field = format!(
        "DKIM-Signature: v=1; a={}; c={}/{}; d=a.example; s={}; {length}h={}; bh={{bh}}; b={{b}}\r\n",
        plan.algorithm.name(),
        form(header_relaxed),
        form(body_relaxed),
        selector(number),
        plan.names.join(":"),
    );
    for (what, with) in &plan.edits {
        field = field.replacen(what, with, 1);
    }
    let (header, canonicalization) = (canonical_header(plan), canonicalization(header_relaxed));
    let by_hand = ByHand { field: &field, header: &header, body: signed, canonicalization };
    match plan.algorithm {
        Algorithm::Rsa => by_hand.sign(&sign::rsa2048_key()),
        Algorithm::Ed25519 => by_hand.sign(&sign::ed25519_key()),
    }
}

fn canonicalization(relaxed: bool) -> Canonicalization {
    if relaxed { Canonicalization::Relaxed } else { Canonicalization::Simple }
}

/// The fields of `h=`, from the bottom up.
fn canonical_header(plan: &Plan) -> String {
    let mut left: Vec<&String> = plan.fields.iter().collect();
    let mut header = String::new();
    for name in &plan.names {
        let is_it = |field: &&String| {
            field.split_once(':').is_some_and(|(other, _)| other.trim_end().eq_ignore_ascii_case(name))
        };
        if let Some(at) = left.iter().rposition(is_it) {
            let field = left.remove(at);
            match plan.relaxed.0 {
                true => header += &(sign::relaxed(field) + "\r\n"),
                false => header += field,
            }
        }
    }
    header
}

/// RFC 6376 3.4.3 and 3.4.4, line by line.
fn canonical_body(body: &str, relaxed: bool) -> String {
    let line = |line: &str| {
        let begins_blank = line.starts_with([' ', '\t']);
        let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        let blank = if begins_blank && !words.is_empty() { " " } else { "" };
        format!("{blank}{}", words.join(" "))
    };
    let lines = body.split("\r\n").map(|text| if relaxed { line(text) } else { text.to_owned() });
    let mut lines: Vec<String> = lines.collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    if lines.is_empty() && relaxed { String::new() } else { lines.join("\r\n") + "\r\n" }
}

fn shown(number: usize, plan: &Plan, message: &str, ours: &DkimSignature, theirs: &Theirs) -> String {
    let signer = plan.signer;
    format!(
        "message {number}, signed by {signer:?}, edits {:?}, record {:?} beside {:?}, changes {:?}\n  ours:   {:?} {:?}\n  \
         theirs: {} {:?}\n{}",
        plan.edits,
        plan.record,
        plan.beside,
        plan.changes,
        ours.result,
        ours.reason.unwrap_or_default(),
        theirs.passes,
        theirs.said,
        message.escape_debug().to_string().replace("\\r\\n", "\\r\\n\n    "),
    )
}

/// One Python for the whole comparison, as it takes long to start.
struct Dkimpy {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Dkimpy {
    fn start(python: &Path, port: u16) -> Result<Self> {
        let mut command = Command::new(python);
        command.args(["-c", DKIMPY]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", python.display()))?;
        let (requests, answers) =
            child.stdin.take().zip(child.stdout.take()).context("a process without pipes")?;
        let mut dkimpy = Self { child, requests, answers: BufReader::new(answers) };
        let keys =
            json!({ "rsa-sha256": sign::RSA2048_PEM, "ed25519-sha256": BASE64.encode(&sign::ED25519_SEED) });
        writeln!(dkimpy.requests, "{}", json!({ "port": port, "keys": keys }))?;
        Ok(dkimpy)
    }

    /// The signature; none for what it will not sign.
    fn sign(&mut self, plan: &Plan, number: usize, message: &str) -> Result<Option<String>> {
        let signs =
            |name: &String| !["received", "dkim-signature"].contains(&name.to_ascii_lowercase().as_str());
        let names: Vec<&String> = plan.names.iter().filter(|name| signs(name)).collect();
        let is_good = |field: &String| !field.contains(" :") && !field.is_empty();
        if !names.iter().any(|name| *name == "from") || !plan.fields.iter().all(is_good) {
            return Ok(None);
        }
        let form = |relaxed| if relaxed { "relaxed" } else { "simple" };
        let answer = self.ask(&json!({
            "message": BASE64.encode(message.as_bytes()),
            "selector": selector(number),
            "algorithm": plan.algorithm.name(),
            "canonicalize": [form(plan.relaxed.0), form(plan.relaxed.1)],
            "names": names,
            "length": plan.length == Length::All,
        }))?;
        let field = answer["field"].as_str().context("dkimpy did not sign")?;
        Ok(Some(String::from_utf8(BASE64.decode(field.as_bytes())?)?))
    }

    fn verify(&mut self, message: &str) -> Result<Theirs> {
        let answer = self.ask(&json!({ "message": BASE64.encode(message.as_bytes()) }))?;
        let passes = answer["passes"].as_bool().context("dkimpy did not verify")?;
        Ok(Theirs { passes, said: answer["said"].as_str().unwrap_or_default().to_owned() })
    }

    fn ask(&mut self, request: &Value) -> Result<Value> {
        writeln!(self.requests, "{request}").context("dkimpy is gone")?;
        let mut line = String::new();
        self.answers.read_line(&mut line).context("dkimpy is gone")?;
        serde_json::from_str(&line).context("dkimpy did not answer")
    }
}

impl Drop for Dkimpy {
    fn drop(&mut self) {
        // its input ends with this process; an error has no further consequence
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
