//! The two properties that hold for every controller: a second reconcile writes nothing, and a failure or
//! a crash at any single call converges to the same end state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use kube::Client;
use simbdp_operator::controller_runtime::{Controller, drive};
use simbdp_testkit::fault::{Fault, Operation};

use crate::server;
use crate::world::{Outside, World};

/// Runs of a campaign at the same time.
const AT_ONCE: usize = 6;

/// Something that a controller brings about.
#[async_trait(?Send)]
pub trait Scenario: Sync {
    /// The controller.
    type Controller: Controller;
    /// What is there before, and the object itself, of the world's name. No fault hits it.
    async fn prepare(&self, world: &World);
    /// Namespace of the object.
    fn namespace(&self, world: &World) -> Option<String>;
    /// What happens outside of the controller.
    fn outside(&self) -> Box<dyn Outside>;
    /// Whether the controller has brought it about.
    async fn settled(&self, world: &World) -> bool;
    /// What is there then.
    async fn end_state(&self, world: &World) -> String;
}

/// One run; with a fault at the n-th call if there is one. Returns the world and its end state.
async fn once<S: Scenario>(
    scenario: &S,
    client: &Client,
    name: &str,
    fault: Option<(u64, Fault)>,
) -> (World, String) {
    let world = World::with(client.clone(), name).await;
    scenario.prepare(&world).await;
    world.faults.reset();
    if let Some((nth, fault)) = fault {
        world.faults.inject(nth, fault);
    }
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

/// Every fault at every call of a run without faults; each run ends as that one did.
pub async fn run<S: Scenario>(scenario: &S, prefix: &str, faults: &[Fault]) {
    let client = server::client().await;
    let (world, expected) = once(scenario, &client, &format!("{prefix}0"), None).await;
    // A wait repeats the same calls in the same state for as long as it lasts. `make test-all` hits the second one as well.
    let repeated = match std::env::var_os("SIMBDP_TEST_ALL") {
        Some(_) => 2,
        None => 1,
    };
    let calls = world.faults.calls();
    let mut seen = BTreeMap::<&str, u32>::new();
    let mut chosen = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        let times = seen.entry(&call.name).or_default();
        *times += 1;
        if *times <= repeated {
            chosen.push(index as u64 + 1);
        }
    }
    println!(
        "{prefix}: {} calls, of which {} are hit with {} faults each",
        calls.len(),
        chosen.len(),
        faults.len()
    );
    let plans = chosen.iter().flat_map(|nth| {
        faults
            .iter()
            .enumerate()
            .map(move |(index, fault)| (*nth, index, *fault))
    });
    let expected = Arc::new(expected);
    futures::stream::iter(plans)
        .for_each_concurrent(AT_ONCE, |(nth, index, fault)| {
            let (client, expected) = (client.clone(), expected.clone());
            async move {
                let name = format!("{prefix}{index}n{nth}");
                let (world, state) = once(scenario, &client, &name, Some((nth, fault))).await;
                let hit = world.faults.hit();
                pretty_equal(
                    &expected,
                    &state,
                    &format!("{fault:?} at call {nth}: {hit:?}"),
                );
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
    world.faults.reset();
    let (brokers, stores) = (world.brokers.writes(), world.stores.writes());
    drive::<C>(&world.context(), namespace, &world.name)
        .await
        .unwrap();
    let calls = world.faults.calls();
    let written: Vec<_> = calls
        .iter()
        .filter(|call| call.operation == Operation::Write)
        // At the traits every ensuring call counts; whether it changed anything is asked below.
        .filter(|call| !call.name.starts_with("broker ") && !call.name.starts_with("coredms "))
        .collect();
    assert!(!calls.is_empty(), "nothing was looked at");
    assert_eq!(written, Vec::<&simbdp_testkit::fault::Call>::new());
    assert_eq!(
        (world.brokers.writes(), world.stores.writes()),
        (brokers, stores)
    );
}
