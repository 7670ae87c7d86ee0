//! Claims of contents: the same bytes for one pipeline are one file.

use simbdp_api::wire::work::FileWork;

use super::CassandraLedger;
use super::statements::transact;
use crate::ledger::Claim;
use crate::ledger::values::holds;
use crate::store::StoreError;

/// How often a claim changes hands before the caller tries again later.
const ROUNDS: usize = 16;

impl CassandraLedger {
    pub(super) async fn claim_content(&self, work: &FileWork) -> Result<Claim, StoreError> {
        let (session, statements) = self.open().await?;
        let content = work.content_key();
        let mut holder = None;
        for _ in 0..ROUNDS {
            let answer = match holder {
                None => {
                    let values = (&work.pipeline, &content, work.id);
                    transact(&session, &statements.claim, values).await?
                }
                Some(first) if first == work.id => return Ok(Claim::Granted),
                Some(first) => {
                    if !work.force && holds(self.state(first).await?) {
                        return Ok(Claim::TakenBy(first));
                    }
                    let values = (work.id, &work.pipeline, &content, first);
                    transact(&session, &statements.reclaim, values).await?
                }
            };
            if answer.applied {
                return Ok(Claim::Granted);
            }
            holder = answer.uuid("id");
        }
        Err(StoreError::Transient(
            "the claim of the content changes hands all the time".to_owned(),
        ))
    }

    pub(super) async fn release_content(&self, work: &FileWork) -> Result<(), StoreError> {
        let (session, statements) = self.open().await?;
        let values = (&work.pipeline, work.content_key(), work.id);
        transact(&session, &statements.release, values).await?;
        Ok(())
    }
}
