//! Resize [IO]: does what [`size::next`] has decided, one step a reconcile. Each step may be done again.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use simbdp_api::common::Engine;
use simbdp_api::labels::{DEPARTURE, TO_CLEAN, TO_REPAIR};
use simbdp_coredms::StoreAdmin;

use super::build::{self, Platform};
use super::claims::{Claim, Departure};
use super::error::Error;
use super::observe::Observed;
use super::size::{self, Step};
use super::validate::ValidatedCoreDms;
use super::{joined, names};
use crate::apply::{Applier, ApplyError};
use crate::exec::{Command, Exec, Outcome};

/// A departure that is not refused within this time is under way.
const REFUSAL: Duration = Duration::from_secs(8);
/// Java takes its time to start on a busy machine, and then only one with much to do needs longer than this.
const PATIENCE: Duration = Duration::from_secs(30);
/// After this time no repair of a further keyspace is begun in one step.
const TURN: Duration = Duration::from_secs(15);
/// Cassandra's own administration, in the image.
const NODETOOL: &str = "/opt/cassandra/bin/nodetool";

/// What a step is done with.
pub struct Resize<'a> {
    /// The API server.
    pub applier: &'a Applier,
    /// Runs commands in pods.
    pub exec: &'a dyn Exec,
    /// The database, where it could be asked.
    pub admin: Option<&'a dyn StoreAdmin>,
    /// What is declared.
    pub coredms: &'a ValidatedCoreDms,
    /// What else objects depend on.
    pub platform: &'a Platform,
    /// What was seen.
    pub observed: &'a Observed,
}

impl Resize<'_> {
    /// One step. What a server did not want to do is told, and tried again.
    pub async fn go_on(&self) -> Result<Option<String>, Error> {
        let step = size::next(self.observed);
        if !matches!(step, Step::Done | Step::Wait(_)) {
            let (namespace, coredms) = (&self.coredms.namespace, &self.coredms.name);
            tracing::info!(namespace, coredms, step = ?step, "changing the number of members");
        }
        match step {
            Step::Done | Step::Wait(_) => Ok(None),
            Step::Add(ordinal) => {
                self.mark_to_clean().await?;
                self.run(ordinal + 1).await
            }
            Step::Enrol(ordinal) => self.members(ordinal + 1).await,
            Step::Leave(ordinal) => {
                self.depart(ordinal, Departure::Leaving).await?;
                match self.coredms.engine {
                    Engine::Cassandra => self.decommission(ordinal).await,
                    Engine::MongoDB => self.members(ordinal).await,
                }
            }
            Step::Discard(ordinal) => {
                self.depart(ordinal, Departure::Left).await?;
                Ok(None)
            }
            Step::Stop(ordinal) => {
                joined::forget(self.applier, self.coredms, self.platform, ordinal).await?;
                self.run(ordinal).await
            }
            Step::Delete(ordinal) => {
                if let Some(claim) = self.claim(ordinal) {
                    let namespace = &self.coredms.namespace;
                    self.applier
                        .delete_this::<PersistentVolumeClaim>(namespace, &claim.name, &claim.uid)
                        .await?;
                }
                Ok(None)
            }
            Step::Clean(ordinal) => self.clean(ordinal).await,
            Step::Repair(ordinal) => self.repair(ordinal).await,
        }
    }

    fn claim(&self, ordinal: u16) -> Option<&Claim> {
        let mut claims = self.observed.claims.iter();
        claims.find(|claim| claim.ordinal == ordinal)
    }

    /// Runs so many members.
    async fn run(&self, members: u16) -> Result<Option<String>, Error> {
        let members = build::members(self.coredms, self.platform, members);
        self.applier.apply(&members).await?;
        Ok(None)
    }

    async fn annotate(
        &self,
        claim: &Claim,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), ApplyError> {
        let namespace = &self.coredms.namespace;
        self.applier
            .annotate::<PersistentVolumeClaim>(namespace, &claim.name, &claim.uid, key, value)
            .await
    }

    async fn depart(&self, ordinal: u16, departure: Departure) -> Result<(), ApplyError> {
        match self.claim(ordinal) {
            Some(claim) if claim.departure != Some(departure) => {
                self.annotate(claim, DEPARTURE, Some(departure.as_str()))
                    .await
            }
            _ => Ok(()),
        }
    }

    /// Before a member takes over a part of the others' data.
    async fn mark_to_clean(&self) -> Result<(), ApplyError> {
        if self.coredms.engine != Engine::Cassandra {
            return Ok(());
        }
        for claim in self.observed.claims.iter().filter(|claim| !claim.to_clean) {
            self.annotate(claim, TO_CLEAN, Some("true")).await?;
        }
        Ok(())
    }

    /// The set is to have the first so many members.
    async fn members(&self, members: u16) -> Result<Option<String>, Error> {
        let (engine, name, namespace) = (
            self.coredms.engine,
            &self.coredms.name,
            &self.coredms.namespace,
        );
        let Some(admin) = self.admin else {
            return Ok(None);
        };
        let members = names::member_endpoints(engine, name, namespace, members);
        let done = admin.ensure_members(&members).await;
        Ok(done.err().map(|error| error.to_string()))
    }

    async fn nodetool(
        &self,
        ordinal: u16,
        words: &[&str],
        limit: Duration,
    ) -> Result<Outcome, String> {
        let words = [NODETOOL].iter().chain(words);
        let command = Command {
            namespace: self.coredms.namespace.clone(),
            pod: names::member(&self.coredms.name, ordinal),
            container: names::application(self.coredms.engine).to_owned(),
            words: words.map(|word| (*word).to_owned()).collect(),
            limit,
        };
        self.exec
            .run(&command)
            .await
            .map_err(|error| error.to_string())
    }

    /// The server goes on by itself; how far it is it says itself.
    async fn decommission(&self, ordinal: u16) -> Result<Option<String>, Error> {
        Ok(
            match self.nodetool(ordinal, &["decommission"], REFUSAL).await {
                Ok(Outcome::Succeeded { .. } | Outcome::Unfinished) => None,
                Ok(Outcome::Failed { output }) => {
                    Some(format!("`nodetool decommission`: {output}"))
                }
                Err(error) => Some(error),
            },
        )
    }

    /// A cleanup of much data outlasts its call. One that has nothing left to do ends at once.
    async fn clean(&self, ordinal: u16) -> Result<Option<String>, Error> {
        let under_way = match self.nodetool(ordinal, &["compactionstats"], PATIENCE).await {
            Ok(Outcome::Succeeded { output }) => output.to_lowercase().contains("cleanup"),
            Ok(Outcome::Unfinished) => return Ok(None),
            Ok(Outcome::Failed { output }) => {
                return Ok(Some(format!("`nodetool compactionstats`: {output}")));
            }
            Err(error) => return Ok(Some(error)),
        };
        if under_way {
            return Ok(None);
        }
        match self.nodetool(ordinal, &["cleanup"], PATIENCE).await {
            Ok(Outcome::Succeeded { .. }) => self.unmark(ordinal, TO_CLEAN).await,
            Ok(Outcome::Unfinished) => Ok(None),
            Ok(Outcome::Failed { output }) => Ok(Some(format!("`nodetool cleanup`: {output}"))),
            Err(error) => Ok(Some(error)),
        }
    }

    async fn unmark(&self, ordinal: u16, mark: &str) -> Result<Option<String>, Error> {
        if let Some(claim) = self.claim(ordinal) {
            self.annotate(claim, mark, None).await?;
        }
        Ok(None)
    }

    /// Keyspace by keyspace. A repair of much data outlasts its call: how far it is the member says itself, for as long as
    /// it is not started again. What it has forgotten is repaired once more.
    async fn repair(&self, ordinal: u16) -> Result<Option<String>, Error> {
        let mut members = self.observed.members.iter();
        let member = members.find(|member| member.ordinal == ordinal);
        let address = member.and_then(|member| member.address.as_deref());
        let (Some(admin), Some(address)) = (self.admin, address) else {
            return Ok(None);
        };
        let left = match admin.unrepaired(address).await {
            Ok(left) => left,
            Err(error) => return Ok(Some(error.to_string())),
        };
        let began = Instant::now();
        for keyspace in &left.keyspaces {
            if left.under_way || began.elapsed() > TURN {
                return Ok(None);
            }
            let words = ["repair", "--full", keyspace];
            match self.nodetool(ordinal, &words, PATIENCE).await {
                Ok(Outcome::Succeeded { .. }) => {}
                Ok(Outcome::Unfinished) => return Ok(None),
                Ok(Outcome::Failed { output }) => {
                    let why = error_in(&output);
                    return Ok(Some(format!("`nodetool {}`: {why}", words.join(" "))));
                }
                Err(error) => return Ok(Some(error)),
            }
        }
        self.unmark(ordinal, TO_REPAIR).await
    }
}

/// What a repair failed for: before it stand ranges without end, and after it a trace of the program.
fn error_in(output: &str) -> &str {
    let error = output.rfind("error:").map_or(output, |at| &output[at..]);
    error
        .split("-- StackTrace --")
        .next()
        .unwrap_or(error)
        .trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_failed_repair_the_reason_is_told() {
        let output = "[12:00] Repair session 1 for range [(1,2], (3,4]] failed\n\
            error: Repair job has failed with the error message: Endpoint not alive: /10.0.0.2:7000\n\
            -- StackTrace --\njava.lang.RuntimeException: x\n\tat a.b.C";
        assert_eq!(
            error_in(output),
            "error: Repair job has failed with the error message: Endpoint not alive: /10.0.0.2:7000"
        );
        assert_eq!(error_in("it is so"), "it is so");
    }
}
