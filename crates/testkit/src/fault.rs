//! Counts calls and makes chosen ones fail, on whichever side of being carried out. One counter is
//! shared by the Kubernetes client ([`crate::fault_http`]) and by the administrators of broker and
//! database ([`crate::fault_admin`]), so that a campaign goes through every call of a reconcile.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a call does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Operation {
    /// Only reads.
    Read,
    /// Reads until it is closed.
    Watch,
    /// May change something.
    Write,
}

/// One call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// What it does.
    pub operation: Operation,
    /// What it is: `PATCH /api/v1/namespaces/x`, `broker ensure_tenancy tenant-x`.
    pub name: String,
}

impl Call {
    /// A call.
    pub fn new(operation: Operation, name: impl Into<String>) -> Self {
        let name = name.into();
        Self { operation, name }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// Not carried out; answered with this HTTP status. At the traits: 401 and 403 refuse the login,
    /// other 4xx refuse the call, the rest is "does not answer".
    Status(u16),
    /// Not carried out; the connection fails.
    Unsent,
    /// Carried out; its answer is lost.
    Unanswered,
    /// Carried out; its answer comes this much later.
    Delayed(Duration),
    /// Not carried out, and neither is any later call until [`Faults::restart`].
    CrashBefore,
    /// Carried out; its answer is lost, and no later call is carried out until [`Faults::restart`].
    CrashAfter,
}

/// How a call was kept from succeeding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Interruption {
    /// Refused with this HTTP status.
    Status(u16),
    /// The connection failed before the call was sent, or before its answer came.
    Connection,
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "injected status {status}"),
            Self::Connection => f.write_str("injected loss of the connection"),
        }
    }
}

/// Which calls are counted.
#[derive(Clone)]
pub struct Filter(Arc<dyn Fn(&Call) -> bool + Send + Sync>);

impl Filter {
    /// Reads and writes; watches come and go by the clock, so they are not counted.
    pub fn requests() -> Self {
        Self::by(|call| call.operation != Operation::Watch)
    }
    /// Writes alone.
    pub fn writes() -> Self {
        Self::by(|call| call.operation == Operation::Write)
    }
    /// Calls of one's own choice.
    pub fn by(choose: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(choose))
    }
}

/// A fault that is to come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Planned {
    /// Name of the call that it hits.
    pub name: String,
    /// Which of the calls of that name, counted from 1.
    pub nth: u32,
    /// What becomes of the call.
    pub fault: Fault,
}

#[derive(Default)]
struct State {
    planned: Vec<Planned>,
    counted: Vec<Call>,
    hit: Vec<Planned>,
    crashed: bool,
}

impl State {
    /// Counts a call; returns the fault that it is fated to, if any.
    fn count(&mut self, call: Call) -> Option<Planned> {
        self.counted.push(call);
        let name = &self.counted.last()?.name;
        let same = self.counted.iter().filter(|call| call.name == *name);
        let nth = u32::try_from(same.count()).unwrap_or(u32::MAX);
        let is_due = |one: &Planned| one.nth == nth && one.name == *name;
        let at = self.planned.iter().position(is_due)?;
        Some(self.planned.swap_remove(at))
    }
}

/// Counter of calls with planned faults. Clones share it.
#[derive(Clone)]
pub struct Faults {
    filter: Filter,
    state: Arc<Mutex<State>>,
}

impl Faults {
    /// Counts the calls that the filter chooses; no fault is planned.
    pub fn new(filter: Filter) -> Self {
        let state = Arc::default();
        Self { filter, state }
    }

    /// Plans the fate of a call, counted as of [`Faults::reset`].
    pub fn inject(&self, planned: Planned) {
        self.lock().planned.push(planned);
    }

    /// How many calls were counted.
    pub fn count(&self) -> u64 {
        self.lock().counted.len() as u64
    }

    /// The counted calls, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().counted.clone()
    }

    /// The planned faults that came, in order.
    pub fn hit(&self) -> Vec<Planned> {
        self.lock().hit.clone()
    }

    /// Whether every call fails since a crash.
    pub fn crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Calls are carried out again after a crash. The count goes on.
    pub fn restart(&self) {
        self.lock().crashed = false;
    }

    /// Counts anew, plans nothing, ends a crash.
    pub fn reset(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and says what becomes of it. After a crash uncounted calls fail as well.
    pub(crate) fn fate(&self, call: Call) -> Fate {
        let chosen = (self.filter.0)(&call);
        let mut state = self.lock();
        if state.crashed {
            return Fate::Stop(Interruption::Connection);
        }
        if !chosen {
            return Fate::Go(Course::Undisturbed);
        }
        let Some(planned) = state.count(call) else {
            return Fate::Go(Course::Undisturbed);
        };
        let fault = planned.fault;
        state.hit.push(planned);
        state.crashed = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
        match fault {
            Fault::Status(status) => Fate::Stop(Interruption::Status(status)),
            Fault::Unsent | Fault::CrashBefore => Fate::Stop(Interruption::Connection),
            Fault::Unanswered | Fault::CrashAfter => Fate::Go(Course::Lost),
            Fault::Delayed(delay) => Fate::Go(Course::Late(delay)),
        }
    }

    /// Carries a call out, unless it is fated otherwise.
    pub async fn around<T, E>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, E>>,
        error: impl FnOnce(Interruption) -> Result<T, E>,
    ) -> Result<T, E> {
        match self.fate(call) {
            Fate::Stop(interruption) => error(interruption),
            Fate::Go(course) => course.of(work, error).await,
        }
    }
}

/// What becomes of a call that was counted.
pub(crate) enum Fate {
    /// It is not carried out.
    Stop(Interruption),
    /// It is carried out.
    Go(Course),
}

/// What becomes of the answer of a call that is carried out.
pub(crate) enum Course {
    /// It comes.
    Undisturbed,
    /// It comes late.
    Late(Duration),
    /// It never comes.
    Lost,
}

impl Course {
    pub(crate) async fn of<T, E>(
        self,
        work: impl Future<Output = Result<T, E>>,
        error: impl FnOnce(Interruption) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Undisturbed => work.await,
            Self::Late(delay) => {
                tokio::time::sleep(delay).await;
                work.await
            }
            Self::Lost => {
                drop(work.await);
                error(Interruption::Connection)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Probe {
        faults: Faults,
        done: AtomicU32,
    }

    impl Probe {
        fn new(filter: Filter) -> Self {
            let done = AtomicU32::new(0);
            let faults = Faults::new(filter);
            Self { faults, done }
        }
        async fn call(&self, operation: Operation) -> Result<(), Interruption> {
            let work = async {
                self.done.fetch_add(1, Ordering::SeqCst);
                Ok(())
            };
            self.faults
                .around(Call::new(operation, "call"), work, Err)
                .await
        }
        fn inject(&self, nth: u32, fault: Fault) {
            let name = "call".to_owned();
            self.faults.inject(Planned { name, nth, fault });
        }
        fn done(&self) -> u32 {
            self.done.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn the_nth_call_alone_fails_unsent() {
        let probe = Probe::new(Filter::writes());
        probe.inject(2, Fault::Status(409));
        assert_eq!(probe.call(Operation::Write).await, Ok(()));
        assert_eq!(probe.call(Operation::Read).await, Ok(()));
        assert_eq!(
            probe.call(Operation::Write).await,
            Err(Interruption::Status(409))
        );
        assert_eq!(probe.call(Operation::Write).await, Ok(()));
        assert_eq!((probe.done(), probe.faults.count()), (3, 3));
    }

    #[tokio::test]
    async fn a_lost_answer_is_of_a_call_that_was_carried_out() {
        let probe = Probe::new(Filter::requests());
        probe.inject(1, Fault::Unanswered);
        assert_eq!(
            probe.call(Operation::Read).await,
            Err(Interruption::Connection)
        );
        assert_eq!(probe.done(), 1);
        assert_eq!(probe.faults.hit().len(), 1);
    }

    #[tokio::test]
    async fn a_crash_lasts_until_the_restart() {
        for (fault, carried_out) in [(Fault::CrashBefore, 0), (Fault::CrashAfter, 1)] {
            let probe = Probe::new(Filter::writes());
            probe.inject(1, fault);
            assert!(probe.call(Operation::Write).await.is_err());
            assert!(probe.call(Operation::Watch).await.is_err());
            assert_eq!(probe.done(), carried_out);
            assert!(probe.faults.crashed());
            probe.faults.restart();
            assert_eq!(probe.call(Operation::Write).await, Ok(()));
            assert_eq!(probe.done(), carried_out + 1);
        }
    }
}
