//! The ledger: what became of each file; claims of contents; totals of pipelines; attempts of suspects.
//! It lies in the platform's keyspace of the tenant's own coredms.

pub(crate) mod values;

use futures::future::BoxFuture;
use simbdp_api::pipeline::Period;
use simbdp_api::wire::rest::{FilePage, FileRecord, FileState};
use simbdp_api::wire::work::FileWork;
use uuid::Uuid;

use crate::store::StoreError;

/// How a claim of a content ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Claim {
    /// The content is this file's.
    Granted,
    /// The content is that of another file, which is queued, running or done.
    TakenBy(Uuid),
}

/// How an attempt to take a file for ingest ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Taken {
    /// It is this app's to ingest (again, if another app died with it).
    Ingest,
    /// It has ended already, in this state: acknowledge and go on.
    Ended(FileState),
}

/// What ingest found in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Done, Failed or Duplicate.
    pub state: FileState,
    /// Rows written.
    pub accepted: u64,
    /// Rows quarantined.
    pub rejected: u64,
    /// Seconds of ingest.
    pub seconds: f64,
    /// URL path of the quarantined rows.
    pub rejects: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// The file with the same bytes.
    pub duplicate_of: Option<Uuid>,
}

/// Running totals of one ingest app instance; overwritten, never incremented, so repeating is harmless.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Totals {
    /// Rows written.
    pub rows: u64,
    /// Rows and messages rejected.
    pub rejected: u64,
}

/// Which files to list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileQuery {
    /// Of this pipeline only.
    pub pipeline: Option<String>,
    /// In this state only.
    pub state: Option<FileState>,
    /// Most files of the page.
    pub limit: u32,
    /// `nextPage` of the page before.
    pub page: Option<String>,
}

/// The ledger of one tenant. State changes are compare-and-set.
pub trait Ledger: Send + Sync {
    /// Claims a content ([`FileWork::content_key`]) of a pipeline for a file. A claim held by a Failed file, or `force`, passes on.
    /// Claiming again for the same file is granted.
    fn claim<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<Claim, StoreError>>;
    /// Releases the claim of a file whose upload came to nothing.
    fn release<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Enters a staged file, if it is not there yet.
    fn staged<'a>(&'a self, work: &'a FileWork) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Staged → Queued; a later state stays.
    fn queued(&self, id: Uuid) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Claims the content and takes the file: (absent, Staged, Queued, Ingesting) → Ingesting, or → Duplicate when the
    /// content is another's. Enters it first where the gateway could not.
    fn take<'a>(
        &'a self,
        work: &'a FileWork,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<Taken, StoreError>>;
    /// Ingesting → the outcome's state; false when it had ended already.
    fn ended<'a>(
        &'a self,
        id: Uuid,
        outcome: &'a Outcome,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Opens a file that has ended in the state `from` for another attempt, `work.replay`: → Staged; false when it is in
    /// another state.
    fn replay<'a>(
        &'a self,
        work: &'a FileWork,
        from: FileState,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// One file.
    fn file(&self, id: Uuid) -> BoxFuture<'_, Result<Option<FileRecord>, StoreError>>;
    /// Files, newest first.
    fn files<'a>(&'a self, query: &'a FileQuery) -> BoxFuture<'a, Result<FilePage, StoreError>>;
    /// Counts one more file of `scope` (a pipeline, or the whole tenant as `*`) in the period that `at_millis` lies in;
    /// false, and nothing counted, when `limit` is reached. Exact under concurrency.
    fn count_file<'a>(
        &'a self,
        scope: &'a str,
        per: Period,
        at_millis: i64,
        limit: u32,
    ) -> BoxFuture<'a, Result<bool, StoreError>>;
    /// Takes back one count.
    fn uncount_file<'a>(
        &'a self,
        scope: &'a str,
        per: Period,
        at_millis: i64,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Overwrites the totals of one ingest app instance.
    fn put_totals<'a>(
        &'a self,
        pipeline: &'a str,
        instance: &'a str,
        totals: Totals,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
    /// Sum of all instances' totals.
    fn totals<'a>(&'a self, pipeline: &'a str) -> BoxFuture<'a, Result<Totals, StoreError>>;
    /// Records one more attempt at a suspect message, before it is tried; returns the attempts with this one.
    fn attempt<'a>(
        &'a self,
        pipeline: &'a str,
        message_id: &'a str,
    ) -> BoxFuture<'a, Result<u32, StoreError>>;
    /// Forgets the attempts of a message that was written or condemned.
    fn forget_attempts<'a>(
        &'a self,
        pipeline: &'a str,
        message_id: &'a str,
    ) -> BoxFuture<'a, Result<(), StoreError>>;
}
