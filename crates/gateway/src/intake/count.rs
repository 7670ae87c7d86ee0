//! Limits on the number of files: the pipeline's and the tenant's, counted in the ledger.

use std::sync::Arc;
use std::time::Duration;

use simbdp_api::pipeline::{FileCount, Period};
use simbdp_api::wire::config::Mode;
use simbdp_api::wire::work::FileWork;
use simbdp_coredms::store::StoreError;

use super::{WHOLE_TENANT, take_back};
use crate::gateway::Gateway;
use crate::problem::Refusal;

/// Where a file is counted: scopes, and the periods of their limits.
pub(super) type Counted<'a> = Vec<(&'a str, Period)>;

/// Counts the file where a number of files is declared; takes it back where it is one too many.
pub(super) async fn count<'a>(
    gateway: &Gateway,
    work: &Arc<FileWork>,
    limits: &[(&'a str, Option<FileCount>)],
) -> Result<Counted<'a>, Refusal> {
    let ledger = &gateway.backends.ledger;
    let mut counted = Vec::new();
    for (scope, limit) in limits {
        let Some(limit) = limit else { continue };
        let question = ledger.count_file(scope, limit.per, work.accepted_at, limit.count);
        let refusal = match gateway.ask(question).await {
            Ok(true) => {
                counted.push((*scope, limit.per));
                continue;
            }
            Ok(false) => too_many_files(scope, *limit, work.accepted_at),
            Err(error) => uncountable(gateway, work, &error).await,
        };
        uncount(gateway, work, &counted).await;
        take_back(gateway, work).await;
        return Err(refusal);
    }
    Ok(counted)
}

/// Takes back the counts of a file that is refused after all.
pub(super) async fn uncount(gateway: &Gateway, work: &FileWork, counted: &Counted<'_>) {
    let ledger = &gateway.backends.ledger;
    for (scope, per) in counted {
        let answer = gateway
            .ask(ledger.uncount_file(scope, *per, work.accepted_at))
            .await;
        if let Err(error) = answer {
            tracing::warn!(%error, scope, "one file too many stays counted in this period");
        }
    }
}

/// Whether a file that an earlier life left may be queued.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recount {
    /// It is counted.
    Counted,
    /// It is one too many, and nobody was told that it is accepted.
    TooMany,
    /// The ledger does not answer.
    Unknown,
}

/// Counts a file that an earlier life may have died with before it was counted. One that is in the ledger was. A death
/// after the count and before that counts it twice: the limit then lets one file less through, never one more.
pub async fn recount(gateway: &Gateway, work: &FileWork, ledger_down: bool) -> Recount {
    let config = gateway.config.current();
    let mode = config.pipelines.get(work.pipeline.as_str());
    let Some(Mode::Batch(constraints)) = mode.map(|pipeline| &pipeline.config.mode) else {
        return Recount::Counted;
    };
    let limits = [
        (work.pipeline.as_str(), constraints.max_files),
        (WHOLE_TENANT, constraints.tenant_max_files),
    ];
    if limits.iter().all(|(_, limit)| limit.is_none()) {
        return Recount::Counted;
    }
    if ledger_down {
        return Recount::Unknown;
    }
    let ledger = &gateway.backends.ledger;
    match gateway.ask(ledger.file(work.id)).await {
        Ok(Some(_)) => return Recount::Counted,
        Ok(None) => {}
        Err(_) => return Recount::Unknown,
    }
    let mut counted = Vec::new();
    for (scope, limit) in limits {
        let Some(limit) = limit else { continue };
        let question = ledger.count_file(scope, limit.per, work.accepted_at, limit.count);
        let refused = match gateway.ask(question).await {
            Ok(true) => {
                counted.push((scope, limit.per));
                continue;
            }
            Ok(false) => Recount::TooMany,
            Err(_) => Recount::Unknown,
        };
        uncount(gateway, work, &counted).await;
        return refused;
    }
    Recount::Counted
}

fn too_many_files(scope: &str, limit: FileCount, at_millis: i64) -> Refusal {
    let whose = if scope == WHOLE_TENANT {
        "the tenant".to_owned()
    } else {
        format!("pipeline `{scope}`")
    };
    let (per, seconds) = match limit.per {
        Period::Hour => ("hour", 3_600),
        Period::Day => ("day", 86_400),
    };
    let now = at_millis.div_euclid(1000);
    let renews = now - now.rem_euclid(seconds) + seconds;
    let at = chrono::DateTime::from_timestamp(renews, 0)
        .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
        .unwrap_or_default();
    Refusal::too_many(
        "too-many-files",
        format!(
            "{whose} takes {} files per {per} (maxFiles); the next {per} begins at {at}",
            limit.count
        ),
        Duration::from_secs(u64::try_from(renews - now).unwrap_or(1)),
    )
}

pub(super) async fn uncountable(gateway: &Gateway, work: &FileWork, error: &StoreError) -> Refusal {
    tracing::warn!(%error, file = %work.id, "files cannot be counted");
    take_back(gateway, work).await;
    Refusal::unavailable(
        "ledger-unreachable",
        "the number of files is limited (maxFiles), and the database that counts them does not answer; nothing was kept",
        Duration::from_secs(10),
    )
}
