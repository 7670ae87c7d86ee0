//! The two properties that hold for every controller: a second reconcile writes nothing, and a failure or
//! a crash at any single call converges to the same end state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use kube::Client;
use simbdp_operator::controller_runtime::{Controller, drive};
use simbdp_testkit::fault::{Call, Fault, Operation, Planned};

use crate::server;
use crate::world::{Outside, World};

/// Runs of a campaign at the same time.
const AT_ONCE: usize = 6;
/// Faults that hit one run.
const TOGETHER: usize = 3;

/// Something that a controller brings about.
pub trait Scenario: Sync {
    /// The controller.
    type Controller: Controller;
    /// What is there before, and the object itself, of the world's name. No fault hits it.
    fn prepare<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()>;
    /// Namespace of the object.
    fn namespace(&self, world: &World) -> Option<String>;
    /// What happens outside of the controller.
    fn outside(&self) -> Box<dyn Outside>;
    /// Whether the controller has brought it about.
    fn settled<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, bool>;
    /// What is there then.
    fn end_state<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, String>;
}

/// One run, with faults if there are any. Returns the world and its end state.
async fn once<S: Scenario>(
    scenario: &S,
    client: &Client,
    name: &str,
    faults: &[Planned],
) -> (World, String) {
    let world = World::with(client.clone(), name).await;
    scenario.prepare(&world).await;
    inject(&world, faults);
    let namespace = scenario.namespace(&world);
    let settled = async || scenario.settled(&world).await;
    world
        .run::<S::Controller>(
            namespace.as_deref(),
            name,
            scenario.outside().as_ref(),
            settled,
        )
        .await;
    let state = scenario.end_state(&world).await;
    (world, state)
}

/// Plans faults, and nothing else, from now on.
fn inject(world: &World, faults: &[Planned]) {
    world.faults.reset();
    for fault in faults {
        world.faults.inject(fault.clone());
    }
}

/// Faults that hit one run, by the names that calls have in the world where they were seen first.
type Company = Vec<Planned>;

/// Every fault at every call that a run without faults made; a read that is carried out before a crash is as one that is
/// not, and a crash before a call leaves what one after the write before it leaves. A wait repeats the same calls in the
/// same state for as long as it lasts, and of servers that are alike one is hit. Several hit one run, one after the other.
/// `make test-all` crashes before calls, too, hits the second of equal calls and every server as well, and no run twice.
fn plans(what: &str, calls: &[Call], faults: &[Fault]) -> Vec<Company> {
    let all = std::env::var_os("SIMBDP_TEST_ALL").is_some();
    let (most, together) = if all { (2, 1) } else { (1, TOGETHER) };
    let mut seen = BTreeMap::<String, u32>::new();
    let mut plans = Vec::new();
    for call in calls {
        let name = match all {
            true => call.name.clone(),
            false => unnumbered(&call.name),
        };
        let times = seen.entry(name).or_default();
        *times += 1;
        if *times > most {
            continue;
        }
        let apart = faults.iter().filter(|fault| match fault {
            Fault::CrashAfter => call.operation == Operation::Write,
            Fault::CrashBefore => all,
            _ => true,
        });
        plans.extend(apart.map(|fault| Planned {
            name: call.name.clone(),
            nth: *times,
            fault: *fault,
        }));
    }
    println!(
        "{what}: {} calls, {} faults, {together} to a run",
        calls.len(),
        plans.len()
    );
    // Those of a run are far apart, so that one is over when the next one comes.
    let runs = plans.len().div_ceil(together);
    let run = |first| plans.iter().skip(first).step_by(runs).cloned().collect();
    (0..runs).map(run).collect()
}

/// Faults that never came because of those before them, as when an event is not told again: they come alone then.
fn missed(world: &World, plan: &[Planned], faults: &[Planned]) -> Company {
    if plan.len() < 2 {
        return Company::new();
    }
    let hit = world.faults.hit();
    let both = plan.iter().zip(faults);
    both.filter(|(_, fault)| !hit.contains(fault))
        .map(|(plan, _)| plan.clone())
        .collect()
}

/// The same faults in another world, whose calls have its name in theirs.
fn in_world(faults: &[Planned], of: &str, to: &str) -> Company {
    let faults = faults.iter().cloned();
    let renamed = faults.map(|fault| Planned {
        name: fault.name.replace(of, to),
        ..fault
    });
    renamed.collect()
}

/// A call's name without the numbers of servers: `data-db-1` is `data-db-`.
fn unnumbered(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        let number = character.is_ascii_digit() && text.ends_with('-');
        if !number {
            text.push(character);
        }
    }
    text
}

/// Every fault at every call of a run without faults; each run ends as that one did.
pub async fn run<S: Scenario>(scenario: &S, prefix: &str, faults: &[Fault]) {
    let client = server::client().await;
    let (world, expected) = once(scenario, &client, &format!("{prefix}0"), &[]).await;
    let plans = plans(prefix, &world.faults.calls(), faults);
    let (first, expected, client) = (&world.name, &expected, &client);
    futures::stream::iter(plans.into_iter().zip(1..))
        .for_each_concurrent(AT_ONCE, |(plan, n): (Company, usize)| async move {
            let mut plans = vec![(format!("{prefix}n{n}"), plan)];
            while let Some((name, plan)) = plans.pop() {
                let faults = in_world(&plan, first, &name);
                let (world, state) = once(scenario, client, &name, &faults).await;
                pretty_equal(expected, &state, &format!("{:?}", world.faults.hit()));
                let alone = missed(&world, &plan, &faults).into_iter().zip(1..);
                plans.extend(alone.map(|(fault, n)| (format!("{name}n{n}"), vec![fault])));
            }
        })
        .await;
}

/// A change of something that is there, which the next change starts from.
pub trait Change: Scenario {
    /// Asks for it. No fault hits this.
    fn ask<'a>(&'a self, world: &'a World) -> LocalBoxFuture<'a, ()>;
}

/// A way that is gone again and again: what is expected at its end, and the faults that are left to hit it with.
struct Way<'a, S> {
    change: &'a S,
    expected: String,
    left: Mutex<VecDeque<Company>>,
    /// World whose calls they name.
    first: String,
}

impl<'a, S: Change> Way<'a, S> {
    /// Goes it for the first time, without faults.
    async fn new(change: &'a S, world: &World, outside: &dyn Outside, faults: &[Fault]) -> Self {
        let expected = gone(change, world, outside, &[]).await;
        let calls = world.faults.calls();
        Self {
            change,
            expected,
            left: Mutex::new(plans(&world.name, &calls, faults).into()),
            first: world.name.clone(),
        }
    }

    fn done(&self) -> bool {
        self.left.lock().unwrap().is_empty()
    }

    /// With the next faults, if any are left.
    async fn go(&self, world: &World, outside: &dyn Outside) {
        let plan = self.left.lock().unwrap().pop_front().unwrap_or_default();
        let faults = in_world(&plan, &self.first, &world.name);
        let state = gone(self.change, world, outside, &faults).await;
        pretty_equal(&self.expected, &state, &format!("{:?}", world.faults.hit()));
        let alone = missed(world, &plan, &faults);
        let alone = alone.into_iter().map(|fault| vec![fault]);
        self.left.lock().unwrap().extend(alone);
    }
}

/// Carries a change out; returns what is there then.
async fn gone<S: Change>(
    change: &S,
    world: &World,
    outside: &dyn Outside,
    faults: &[Planned],
) -> String {
    change.ask(world).await;
    inject(world, faults);
    let namespace = change.namespace(world);
    let settled = async || change.settled(world).await;
    world
        .run::<S::Controller>(namespace.as_deref(), &world.name, outside, settled)
        .await;
    change.end_state(world).await
}

/// Every fault at every call of a change and of its undoing; each ends as it did without.
pub async fn there_and_back<S: Change>(there: &S, back: &S, prefix: &str, faults: &[Fault]) {
    round(&[there, back], prefix, faults).await;
}

/// The same of changes that may follow each other, the first one after the last. Worlds go round until no fault is left,
/// since making them costs more than that.
pub async fn round<S: Change>(changes: &[&S], prefix: &str, faults: &[Fault]) {
    let client = server::client().await;
    let first = World::with(client.clone(), &format!("{prefix}0")).await;
    changes[0].prepare(&first).await;
    let outside = changes[0].outside();
    let mut ways = Vec::new();
    for change in changes {
        ways.push(Way::new(*change, &first, &*outside, faults).await);
    }
    let (ways, client) = (&ways, &client);
    futures::stream::iter(1..=AT_ONCE)
        .for_each_concurrent(AT_ONCE, |n| async move {
            let world = World::with(client.clone(), &format!("{prefix}{n}")).await;
            changes[0].prepare(&world).await;
            let outside = changes[0].outside();
            while !ways.iter().all(Way::done) {
                for way in ways {
                    way.go(&world, &*outside).await;
                }
            }
        })
        .await;
}

/// Says which lines differ: whole states are long.
fn pretty_equal(expected: &str, found: &str, what: &str) {
    if expected == found {
        return;
    }
    let only = |one: &str, other: &str| {
        let other: BTreeSet<_> = other.lines().collect();
        let lines: Vec<_> = one
            .lines()
            .filter(|line| !other.contains(line))
            .take(40)
            .collect();
        lines.join("\n")
    };
    panic!(
        "{what} ends otherwise\nmissing:\n{}\ntoo much:\n{}",
        only(expected, found),
        only(found, expected)
    );
}

/// An operator that has just started finds everything as it should be, and writes nothing.
pub async fn second_writes_nothing<C: Controller>(world: &World, namespace: Option<&str>) {
    second_writes_nothing_of::<C>(world, namespace, &world.name).await;
}

/// The same of an object of another name.
pub async fn second_writes_nothing_of<C: Controller>(
    world: &World,
    namespace: Option<&str>,
    name: &str,
) {
    world.faults.reset();
    let (brokers, stores) = (world.brokers.writes(), world.stores.writes());
    drive::<C>(&world.context(), namespace, name).await.unwrap();
    let calls = world.faults.calls();
    let written: Vec<_> = calls
        .iter()
        .filter(|call| call.operation == Operation::Write)
        // At the traits every ensuring call counts; whether it changed anything is asked below.
        .filter(|call| !call.name.starts_with("broker ") && !call.name.starts_with("coredms "))
        .collect();
    assert!(!calls.is_empty(), "nothing was looked at");
    assert_eq!(written, Vec::<&Call>::new());
    assert_eq!(
        (world.brokers.writes(), world.stores.writes()),
        (brokers, stores)
    );
}
