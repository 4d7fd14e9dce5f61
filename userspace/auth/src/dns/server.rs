//! One DNS server: how it has to be asked, and how well it answered lately.
//!
//! It asks this server alone. Which server is asked when is decided elsewhere.

use std::{
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hickory_proto::{
    op::{Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info};

use super::{
    exchange::{DnsResponse, Fault, QuestionForm, by_tcp, by_udp},
    reading::{MAX_ALIASES, Reading, TOO_MANY_ALIASES, read},
    result::DnsAnswer,
};
use sixgate_base::endpoint::Endpoint;

/// How long it is remembered that a server cannot take EDNS or does not keep the case of names, and
/// that it can.
pub const HABITS_LIFETIME: Duration = Duration::from_mins(10);
/// How long a server that failed is asked after the others.
pub const SETBACK: Duration = Duration::from_secs(30);

/// A DNS server and its habits.
#[derive(Debug)]
pub(super) struct Server {
    endpoint: Endpoint,
    habits: Mutex<Habits>,
}

/// The observed habits of a server, each with the end of its validity.
#[derive(Debug, Default)]
struct Habits {
    takes_edns: Option<Instant>,
    /// It answered with an OPT record: an error without one is not about EDNS then.
    sends_opt: Option<Instant>,
    refuses_edns: Option<Instant>,
    loses_case: Option<Instant>,
    fails: Option<Instant>,
    /// The habits of this server that were logged.
    logged_edns: bool,
    logged_case: bool,
}

/// Why a server is of no help.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum ServerFailure {
    /// It answered with an error.
    Code(ResponseCode),
    /// It answered with something that is neither records nor their absence, or cannot be reached.
    Unusable(String),
    /// It did not answer in time.
    TimedOut,
}

impl Server {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, habits: Mutex::default() }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Whether it failed lately, so that the others are asked first.
    pub(super) fn fails(&self) -> bool {
        is_ahead(self.habits().fails)
    }

    /// The records of type `kind` at `name`, within `time`. CNAMEs that the server does not follow
    /// itself are followed, [`MAX_ALIASES`] times.
    pub(super) async fn ask(
        &self,
        name: &Name,
        kind: RecordType,
        time: Duration,
    ) -> Result<DnsAnswer<RData>, ServerFailure> {
        let deadline = Instant::now() + time;
        let answer = match timeout_at(deadline, self.follow(name, kind, time)).await {
            Ok(answer) => answer,
            Err(_) => Err(ServerFailure::TimedOut),
        };
        match &answer {
            // the name's own servers failed, most likely
            Ok(_) | Err(ServerFailure::Code(ResponseCode::ServFail)) => self.habits().fails = None,
            Err(failure) => self.set_back(failure),
        }
        answer
    }

    /// Has the other servers asked first for [`SETBACK`].
    pub(super) fn set_back(&self, failure: &ServerFailure) {
        debug!(server = %self.endpoint, ?failure, "a DNS server failed");
        self.habits().fails = Some(Instant::now() + SETBACK);
    }

    async fn follow(
        &self,
        name: &Name,
        kind: RecordType,
        time: Duration,
    ) -> Result<DnsAnswer<RData>, ServerFailure> {
        let mut name = name.clone();
        let mut longest = Duration::MAX;
        for _ in 0..=MAX_ALIASES {
            let response = self.exchange(&Query::query(name.clone(), kind), time).await?;
            if !is_answer(&response) {
                return Err(ServerFailure::Code(code(&response)));
            }
            match read(&response.message, &name, kind).map_err(ServerFailure::unusable)? {
                Reading::Answer(answer) => return Ok(DnsAnswer { ttl: answer.ttl.min(longest), ..answer }),
                Reading::Alias { target, ttl } => {
                    longest = longest.min(ttl);
                    name = target;
                }
            }
        }
        Err(ServerFailure::unusable(TOO_MANY_ALIASES))
    }

    /// A whole response, asked for as this server has to be asked.
    async fn exchange(&self, query: &Query, time: Duration) -> Result<DnsResponse, ServerFailure> {
        let manner = self.manner();
        let (response, manner) = self.datagram(query, manner, time).await?;
        let (response, manner) = if manner.edns && self.may_complain_of_edns(&response) {
            self.without_edns(query, manner, response).await?
        } else {
            (response, manner)
        };
        if manner.random_case && !response.keeps_case {
            return self.with_lost_case(query, manner, time).await;
        }
        if response.message.metadata.truncation {
            return self.stream(query, manner).await;
        }
        Ok(response)
    }

    /// By UDP; once more when half of `time` is over. A server that is not known to take EDNS is
    /// then asked without it: there are some that drop what they do not know.
    async fn datagram(
        &self,
        query: &Query,
        manner: QuestionForm,
        time: Duration,
    ) -> Result<(DnsResponse, QuestionForm), ServerFailure> {
        let send = async |manner: QuestionForm| (manner, self.by_udp(query, manner).await);
        let mut second_time = pin!(sleep(time / 2));
        let mut sent = FuturesUnordered::new();
        sent.push(send(manner));
        let mut is_second = false;
        loop {
            let arrived = tokio::select! {
                arrived = sent.next() => arrived,
                () = &mut second_time, if !is_second => {
                    is_second = true;
                    let edns = manner.edns && is_ahead(self.habits().takes_edns);
                    sent.push(send(QuestionForm { edns, ..manner }));
                    continue;
                }
            };
            match arrived {
                Some((used, Ok(response))) => {
                    self.learn_edns(manner, used, &response);
                    return Ok((response, used));
                }
                Some((_, Err(fault))) if sent.is_empty() => return Err(fault.into()),
                Some((_, Err(_))) => {}
                None => return Err(ServerFailure::TimedOut),
            }
        }
    }

    /// Asks again without EDNS after `complaint` (RFC 6891 7).
    async fn without_edns(
        &self,
        query: &Query,
        manner: QuestionForm,
        complaint: DnsResponse,
    ) -> Result<(DnsResponse, QuestionForm), ServerFailure> {
        let plain = QuestionForm { edns: false, ..manner };
        let response = self.by_udp(query, plain).await?;
        if complains_of_edns(&response) || code(&response) == code(&complaint) {
            // about the question itself, then
            return Ok((complaint, manner));
        }
        self.learn_edns(manner, plain, &response);
        Ok((response, plain))
    }

    /// Asks again after a response that repeats the name in another case: it may be forged, or the
    /// server's habit. By TCP it cannot be forged from outside; a server that gives no answer by
    /// TCP within a quarter of `time` (a firewall may drop the SYN) is asked by UDP in plain case.
    async fn with_lost_case(
        &self,
        query: &Query,
        manner: QuestionForm,
        time: Duration,
    ) -> Result<DnsResponse, ServerFailure> {
        let (response, is_habit) = match timeout(time / 4, self.stream(query, manner)).await {
            Ok(Ok(response)) => {
                let is_habit = !response.keeps_case;
                (response, is_habit)
            }
            Ok(Err(_)) | Err(_) => {
                (self.by_udp(query, QuestionForm { random_case: false, ..manner }).await?, true)
            }
        };
        if is_habit {
            self.learn_lost_case();
        }
        if response.message.metadata.truncation {
            return Err(ServerFailure::unusable(TRUNCATED));
        }
        Ok(response)
    }

    async fn by_udp(&self, query: &Query, manner: QuestionForm) -> Result<DnsResponse, Fault> {
        by_udp(self.endpoint.resolve()?, query, manner).await
    }

    async fn stream(&self, query: &Query, manner: QuestionForm) -> Result<DnsResponse, ServerFailure> {
        let response = by_tcp(self.endpoint.resolve().map_err(Fault::from)?, query, manner).await?;
        match response.message.metadata.truncation {
            true => Err(ServerFailure::unusable(TRUNCATED)),
            false => Ok(response),
        }
    }

    /// How it has to be asked, as far as is known.
    fn manner(&self) -> QuestionForm {
        let habits = self.habits();
        QuestionForm {
            edns: !is_ahead(habits.refuses_edns),
            random_case: !is_ahead(habits.loses_case),
            asks_validation: false,
        }
    }

    /// A response came to a question that was put in the manner `used`, after one that was put in
    /// the manner `first`.
    fn learn_edns(&self, first: QuestionForm, used: QuestionForm, response: &DnsResponse) {
        let until = Some(Instant::now() + HABITS_LIFETIME);
        let mut habits = self.habits();
        if used.edns {
            if !complains_of_edns(response) && (is_answer(response) || response.message.edns.is_some()) {
                habits.takes_edns = until;
            }
            if response.message.edns.is_some() {
                habits.sends_opt = until;
            }
        } else if first.edns {
            habits.refuses_edns = until;
            // once: it is learned anew whenever that lifetime is over
            if !std::mem::replace(&mut habits.logged_edns, true) {
                info!(
                    server = %self.endpoint,
                    "the DNS server does not answer questions with EDNS; asking without it, for {} minutes each time",
                    HABITS_LIFETIME.as_secs() / 60
                );
            }
        }
    }

    fn learn_lost_case(&self) {
        let mut habits = self.habits();
        habits.loses_case = Some(Instant::now() + HABITS_LIFETIME);
        if !std::mem::replace(&mut habits.logged_case, true) {
            info!(
                server = %self.endpoint,
                "the DNS server does not keep the case of names; asking without random case, for {} minutes each time",
                HABITS_LIFETIME.as_secs() / 60
            );
        }
    }

    /// Whether `response` may be about EDNS: what complains of it, and SERVFAIL and REFUSED without
    /// an OPT record from a server that has sent no OPT record lately.
    fn may_complain_of_edns(&self, response: &DnsResponse) -> bool {
        let may_be = matches!(code(response), ResponseCode::ServFail | ResponseCode::Refused)
            && response.message.edns.is_none();
        complains_of_edns(response) || may_be && !is_ahead(self.habits().sends_opt)
    }

    /// Single values, whole at every instant.
    fn habits(&self) -> MutexGuard<'_, Habits> {
        self.habits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerFailure {
    fn unusable(reason: &'static str) -> Self {
        Self::Unusable(reason.to_owned())
    }
}

impl From<Fault> for ServerFailure {
    fn from(fault: Fault) -> Self {
        Self::Unusable(fault.to_string())
    }
}

fn is_ahead(until: Option<Instant>) -> bool {
    until.is_some_and(|until| Instant::now() < until)
}

fn code(response: &DnsResponse) -> ResponseCode {
    response.message.metadata.response_code
}

/// Whether it is about the name and no error.
fn is_answer(response: &DnsResponse) -> bool {
    matches!(code(response), ResponseCode::NoError | ResponseCode::NXDomain)
}

fn complains_of_edns(response: &DnsResponse) -> bool {
    matches!(
        code(response),
        ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS | ResponseCode::BADSIG
    )
}

const TRUNCATED: &str = "it is truncated by TCP, too";
