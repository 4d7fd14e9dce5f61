//! Equal questions that are open at one time: one of them is asked and paid for, the others wait
//! for its answer.
//!
//! Each asker may pay; the first that gets a slot does. It asks nothing itself and keeps no answer.

use std::{
    collections::HashMap,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt as _, future::Shared};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::sync::watch;

use super::result::{DnsAnswer, DnsFailure};

type FlightResult = Result<DnsAnswer<RData>, DnsFailure>;
/// A question that is being asked. Those who wait for it drive it; when all are gone it ends.
type Asked = Shared<Pin<Box<dyn Future<Output = FlightResult> + Send>>>;
/// Name and type.
type Question = (Name, RecordType);

/// The open questions. Bounded by their askers, of whom each session has a few.
#[derive(Default)]
pub(super) struct Flights {
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    flights: HashMap<Question, Flight>,
    last_number: u64,
}

/// An open question.
struct Flight {
    number: u64,
    /// `None` while no asker has a slot.
    asked: watch::Sender<Option<Asked>>,
    askers: usize,
}

/// An asker's part in a question; dropping it leaves.
pub(super) struct Seat {
    flights: Arc<Flights>,
    question: Question,
    number: u64,
    asked: watch::Receiver<Option<Asked>>,
}

/// Ends the flight, so that the next equal question is asked anew.
struct Landing {
    flights: Arc<Flights>,
    question: Question,
    number: u64,
}

impl Flights {
    /// Takes part in the question `name` and `kind`, a new one or one that is open.
    pub(super) fn join(self: &Arc<Self>, name: Name, kind: RecordType) -> Seat {
        let question = (name, kind);
        let mut open = self.lock();
        let next_number = open.last_number + 1;
        let flight = open.flights.entry(question.clone()).or_insert_with(|| Flight {
            number: next_number,
            asked: watch::Sender::default(),
            askers: 0,
        });
        flight.askers += 1;
        let (number, asked) = (flight.number, flight.asked.subscribe());
        open.last_number = next_number;
        drop(open);
        Seat { flights: Arc::clone(self), question, number, asked }
    }

    /// Counts and entries stay whole at every instant, so that a panic elsewhere does not matter to
    /// them.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// The answer. Unless another asker is first, `turn` is waited for, `pay` pays for the
    /// question, and `ask` asks.
    ///
    /// # Errors
    /// What `turn` or `pay` refuse to this asker; what the question fails with, to all who wait for
    /// it.
    pub(super) async fn answer<T: Send + 'static, F>(
        self,
        slot: impl Future<Output = Result<T, DnsFailure>>,
        pay: impl FnOnce() -> Result<(), DnsFailure>,
        ask: impl FnOnce(Name, RecordType) -> F,
    ) -> FlightResult
    where
        F: Future<Output = FlightResult> + Send + 'static,
    {
        let mut slot = pin!(slot);
        let mut begun = self.asked.clone();
        let asked = tokio::select! {
            biased;
            Ok(asked) = begun.wait_for(Option::is_some) => asked.clone(),
            slot = &mut slot => Some(self.begin(slot?, pay, ask)?),
        };
        match asked {
            Some(asked) => asked.await,
            None => Err(DnsFailure::Busy { question: self.question.0.to_ascii() }),
        }
    }

    /// Asks, holding `turn` meanwhile; or finds that another asker has begun.
    fn begin<T: Send + 'static, F>(
        &self,
        slot: T,
        pay: impl FnOnce() -> Result<(), DnsFailure>,
        ask: impl FnOnce(Name, RecordType) -> F,
    ) -> Result<Asked, DnsFailure>
    where
        F: Future<Output = FlightResult> + Send + 'static,
    {
        // one after the other: two who come at the same time must not both ask
        let open = self.flights.lock();
        let flight = open.flights.get(&self.question).filter(|flight| flight.number == self.number);
        let begun = self.asked.borrow().clone();
        if let Some(asked) = begun {
            // a slot passes itself on to the next one when it is dropped, which needs no lock of
            // this kind
            drop(open);
            drop(slot);
            return Ok(asked);
        }
        pay()?;
        let (name, kind) = self.question.clone();
        let landing = Landing {
            flights: Arc::clone(&self.flights),
            question: self.question.clone(),
            number: self.number,
        };
        let asking = ask(name, kind);
        let asked = async move {
            let outcome = asking.await;
            drop(slot);
            drop(landing);
            outcome
        };
        let asked: Asked = (Box::pin(asked) as Pin<Box<dyn Future<Output = FlightResult> + Send>>).shared();
        if let Some(flight) = flight {
            flight.asked.send_replace(Some(asked.clone()));
        }
        Ok(asked)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.flights.lock();
        let Some(flight) = open.flights.get_mut(&self.question).filter(|flight| flight.number == self.number)
        else {
            return;
        };
        flight.askers -= 1;
        let ended = if flight.askers == 0 { open.flights.remove(&self.question) } else { None };
        drop(open);
        // with the question, whose landing locks
        drop(ended);
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut open = self.flights.lock();
        let is_it = open.flights.get(&self.question).is_some_and(|flight| flight.number == self.number);
        let ended = if is_it { open.flights.remove(&self.question) } else { None };
        drop(open);
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn over_budget() -> DnsFailure {
        DnsFailure::OverBudget { question: String::new() }
    }

    #[tokio::test]
    async fn equal_questions_are_asked_and_paid_for_once() {
        let flights = Arc::new(Flights::default());
        let (paid, asked) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let gate = Arc::new(Semaphore::new(0));
        let ask = || {
            let seat = flights.join(name("A.example."), RecordType::TXT);
            let (asked, gate, paid) = (Arc::clone(&asked), Arc::clone(&gate), &paid);
            let pay = move || {
                paid.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            seat.answer(async { Ok(()) }, pay, move |_, _| async move {
                asked.fetch_add(1, Ordering::Relaxed);
                drop(gate.acquire().await);
                Err(over_budget())
            })
        };
        let all = futures_util::future::join_all((0..40).map(|_| ask()));
        let (all, ()) = tokio::join!(all, async { gate.add_permits(1) });
        assert!(all.iter().all(Result::is_err), "a question that fails fails for all");
        assert_eq!((paid.load(Ordering::Relaxed), asked.load(Ordering::Relaxed)), (1, 1));
        ask().await.unwrap_err();
        assert_eq!(asked.load(Ordering::Relaxed), 2, "and the next one is asked anew");
        assert!(flights.lock().flights.is_empty());
    }

    #[tokio::test]
    async fn an_asker_that_may_not_pay_holds_up_no_other() {
        let flights = Arc::new(Flights::default());
        let seat = || flights.join(name("a.example."), RecordType::TXT);
        let never = std::future::pending::<Result<(), DnsFailure>>();
        let (waits, poor, rich) = (seat(), seat(), seat());
        let ask = |_, _| async { Ok(DnsAnswer::none()) };
        let poor = poor.answer(async { Ok(()) }, || Err(over_budget()), ask);
        let rich = rich.answer(async { Ok(()) }, || Ok(()), ask);
        let waits = waits.answer(never, || Ok(()), ask);
        let (waits, poor, rich) = tokio::join!(waits, poor, rich);
        assert!(waits.is_ok() && poor == Err(over_budget()) && rich.is_ok());
        assert!(flights.lock().flights.is_empty());
    }

    #[tokio::test]
    async fn a_question_whose_askers_are_gone_ends() {
        let flights = Arc::new(Flights::default());
        let held = Arc::new(());
        {
            let seat = flights.join(name("a.example."), RecordType::TXT);
            let slot = Arc::clone(&held);
            let answer = seat.answer(async { Ok(slot) }, || Ok(()), |_, _| std::future::pending());
            let mut answer = pin!(answer);
            assert!(futures_util::poll!(&mut answer).is_pending());
            assert_eq!(Arc::strong_count(&held), 2);
        }
        assert_eq!((Arc::strong_count(&held), flights.lock().flights.len()), (1, 0));
    }
}
