//! Limits on the number of files: the pipeline's and the tenant's, counted in the ledger.

use std::sync::Arc;
use std::time::Duration;

use simbdp_api::pipeline::{FileCount, Period};
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
