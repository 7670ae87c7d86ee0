//! Claims of contents: the same bytes for one pipeline are one file.

use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;
use simbdp_api::wire::work::FileWork;
use uuid::Uuid;

use super::super::error::{code, command_code};
use super::{CLAIMS, MongoLedger, stored_uuid, uuid};
use crate::ledger::Claim;
use crate::ledger::values::holds;
use crate::store::StoreError;

/// How often a claim changes hands before the caller tries again later.
const ROUNDS: usize = 16;

fn key(work: &FileWork) -> Document {
    doc! {"pipeline": &work.pipeline, "sha256": work.content_key()}
}

impl MongoLedger {
    pub(super) async fn claim_content(&self, work: &FileWork) -> Result<Claim, StoreError> {
        for _ in 0..ROUNDS {
            let holder = match self.holder(work).await? {
                Some(holder) if holder == work.id => return Ok(Claim::Granted),
                Some(holder) => holder,
                None => continue,
            };
            if !work.force && holds(self.state(holder).await?) {
                return Ok(Claim::TakenBy(holder));
            }
            let claims = self.collection(CLAIMS).await?;
            let filter = doc! {"_id": key(work), "id": uuid(holder)};
            let update = doc! {"$set": {"id": uuid(work.id)}};
            let answer = async { claims.update_one(filter, update).await };
            if self.within(answer).await?.matched_count > 0 {
                return Ok(Claim::Granted);
            }
        }
        Err(StoreError::Transient(
            "the claim of the content changes hands all the time".to_owned(),
        ))
    }

    /// Who has the claim, once this file has asked for it; [`None`] when another one asked at the same moment.
    async fn holder(&self, work: &FileWork) -> Result<Option<Uuid>, StoreError> {
        let claims = self.collection(CLAIMS).await?;
        let answer = async {
            let claimed = claims
                .find_one_and_update(
                    doc! {"_id": key(work)},
                    doc! {"$setOnInsert": {"id": uuid(work.id)}},
                )
                .upsert(true)
                .return_document(ReturnDocument::After)
                .await;
            match claimed {
                Err(error) if command_code(&error) == Some(code::DUPLICATE_KEY) => Ok(None),
                other => other,
            }
        };
        let claim = self.within(answer).await?;
        Ok(claim.and_then(|claim| stored_uuid(&claim, "id")))
    }

    pub(super) async fn release_content(&self, work: &FileWork) -> Result<(), StoreError> {
        let claims = self.collection(CLAIMS).await?;
        let filter = doc! {"_id": key(work), "id": uuid(work.id)};
        self.within(async { claims.delete_one(filter).await })
            .await?;
        Ok(())
    }
}
