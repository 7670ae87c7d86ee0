//! Running totals of ingest app instances: one document each, overwritten.

use futures::TryStreamExt;
use mongodb::bson::{Bson, doc};

use super::{MongoLedger, TOTALS};
use crate::ledger::Totals;
use crate::ledger::values::{signed, unsigned};
use crate::store::StoreError;

impl MongoLedger {
    pub(super) async fn write_totals(
        &self,
        pipeline: &str,
        instance: &str,
        totals: Totals,
    ) -> Result<(), StoreError> {
        let collection = self.collection(TOTALS).await?;
        let id = doc! {"pipeline": pipeline, "instance": instance};
        let figures = doc! {"rows": signed(totals.rows), "rejected": signed(totals.rejected)};
        let answer = async {
            collection
                .update_one(doc! {"_id": id}, doc! {"$set": figures})
                .upsert(true)
                .await
        };
        self.within(answer).await?;
        Ok(())
    }

    pub(super) async fn sum_totals(&self, pipeline: &str) -> Result<Totals, StoreError> {
        let collection = self.collection(TOTALS).await?;
        let from = doc! {"pipeline": pipeline, "instance": Bson::MinKey};
        let to = doc! {"pipeline": pipeline, "instance": Bson::MaxKey};
        let answer = async {
            let found = collection
                .find(doc! {"_id": {"$gt": from, "$lt": to}})
                .await?;
            found
                .try_fold(Totals::default(), |sum, total| async move {
                    let figure = |field| unsigned(total.get_i64(field).unwrap_or(0));
                    Ok(Totals {
                        rows: sum.rows.saturating_add(figure("rows")),
                        rejected: sum.rejected.saturating_add(figure("rejected")),
                    })
                })
                .await
        };
        self.within(answer).await
    }
}
