//! Dead letters: open → look from the front → move what is asked for → give back the rest.
//!
//! Redriving publishes to the work queue, waits for the confirm and only then removes the letter. Whatever dies in
//! between leaves a message in both queues, never in none, with one identity and one version: it shows once.

pub mod letter;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use simbdp_api::wire::config::Mode;
use simbdp_api::wire::dead_letters::{
    DeadLetter, DeadLetterList, Kept, MOST_MOVED, Moved, Selection,
};
use simbdp_api::wire::rest::FileState;
use simbdp_broker::Message;
use simbdp_broker::dead_letters::{
    DeadLetter as Letter, DeadLetterError, DeadLetterReader, LetterTag,
};
use simbdp_broker::queue::PublishError;
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use crate::api::files;
use crate::gateway::Gateway;
use crate::pipeline::Pipeline;
use crate::problem::Refusal;

/// Letters that one request looks at.
const SCAN: u64 = 10_000;
/// Letters of one id that are told with their messages: there is one, or a second after a crash.
const WHOLE: u32 = 8;
/// How long one request looks.
const LOOK: Duration = Duration::from_secs(20);
/// How long a request waits for another one that reads dead letters.
const TURN: Duration = Duration::from_secs(10);
/// Letters that are moved together, and bytes of them.
const CHUNK: (usize, usize) = (100, 4 << 20);
/// Attempts that are forgotten at a time.
const FORGOTTEN: usize = 16;

/// What is done with letters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Move {
    /// Back to the work queue.
    Redrive,
    /// Gone for good.
    Purge,
}

/// Letters from the front of a pipeline's dead-letter queue: at most `limit`, or those of one id with their bodies.
pub async fn list(
    gateway: &Gateway,
    pipeline: &Pipeline,
    limit: u32,
    id: Option<&str>,
) -> Result<DeadLetterList, Refusal> {
    let _turn = turn(gateway).await?;
    let mut reader = open(gateway, pipeline).await?;
    let waiting = reader.waiting();
    let limit = match id {
        Some(_) => limit.min(WHOLE),
        None => limit,
    };
    let read = read(&mut *reader, limit as usize, id, is_batch(pipeline)).await;
    let closed = reader.close().await;
    let letters = closed.and(read).map_err(|error| refuse(pipeline, &error))?;
    Ok(DeadLetterList {
        pipeline: pipeline.name.to_string(),
        waiting,
        letters,
    })
}

/// What is told of letters from the front. Their messages are not held, unless they are asked for by their id.
async fn read(
    reader: &mut dyn DeadLetterReader,
    limit: usize,
    id: Option<&str>,
    of_files: bool,
) -> Result<Vec<DeadLetter>, DeadLetterError> {
    let until = Instant::now() + LOOK;
    let mut letters = Vec::new();
    let mut seen = 0;
    while seen < SCAN && letters.len() < limit && Instant::now() < until {
        let Some(letter) = reader.next().await? else {
            break;
        };
        seen += 1;
        if id.is_none_or(|id| id == letter.message.id) {
            letters.push(letter::described(&letter, of_files, id.is_some()));
        }
    }
    Ok(letters)
}

/// Redrives or purges what is selected, as far as one request goes.
pub async fn shift(
    gateway: &Gateway,
    pipeline: &Pipeline,
    how: Move,
    selection: Selection,
    user: &str,
) -> Result<Moved, Refusal> {
    check(&selection)?;
    let _turn = turn(gateway).await?;
    let mut reader = open(gateway, pipeline).await?;
    let mut mover = Mover::new(gateway, pipeline, how, selection);
    let read = mover.run(&mut *reader).await;
    let closed = reader.close().await;
    let moved = mover.moved.moved;
    if moved > 0 {
        tracing::info!(pipeline = %pipeline.name, ?how, moved, user, "dead letters moved");
    }
    closed.map_err(|error| refuse(pipeline, &error))?;
    match read {
        // What was moved is told; the next request meets the same hindrance.
        Err(refusal) if moved == 0 => Err(refusal),
        read => Ok(mover.outcome(read.is_err())),
    }
}

fn check(selection: &Selection) -> Result<(), Refusal> {
    let most = MOST_MOVED as usize;
    Err(Refusal::bad_request(match selection {
        Selection { all: true, ids, .. } if !ids.is_empty() => {
            "`ids` and `all` exclude each other: send one of them".to_owned()
        }
        Selection {
            all: false, ids, ..
        } if ids.is_empty() => "say which letters: `ids`, or `all: true`".to_owned(),
        Selection { ids, .. } if ids.len() > most => {
            format!(
                "`ids` has {} of at most {most}: send several requests",
                ids.len()
            )
        }
        Selection { limit: Some(0), .. } => "`limit` is at least 1".to_owned(),
        _ => return Ok(()),
    }))
}

async fn turn(gateway: &Gateway) -> Result<MutexGuard<'_, ()>, Refusal> {
    let turn = tokio::time::timeout(TURN, gateway.dead_letters.lock()).await;
    turn.map_err(|_| {
        Refusal::unavailable(
            "dead-letters-busy",
            "another request reads dead letters through this replica; try again",
            Duration::from_secs(2),
        )
    })
}

async fn open(
    gateway: &Gateway,
    pipeline: &Pipeline,
) -> Result<Box<dyn DeadLetterReader>, Refusal> {
    let queue = pipeline.config.pipeline.dead_letter_queue();
    let opened = gateway.backends.dead_letters.open(&queue).await;
    opened.map_err(|error| refuse(pipeline, &error))
}

fn is_batch(pipeline: &Pipeline) -> bool {
    matches!(pipeline.config.mode, Mode::Batch(_))
}

fn refuse(pipeline: &Pipeline, error: &DeadLetterError) -> Refusal {
    tracing::warn!(%error, pipeline = %pipeline.name, "dead letters cannot be read");
    match error {
        DeadLetterError::Unavailable(_) => Refusal::unavailable(
            "broker-unreachable",
            "the broker does not answer; no dead letter is lost, and repeating is harmless",
            Duration::from_secs(5),
        ),
        DeadLetterError::NoQueue(_) => Refusal::unavailable(
            "no-queue",
            format!(
                "the dead-letter queue of pipeline `{}` is not there yet",
                pipeline.name
            ),
            Duration::from_secs(10),
        ),
    }
}

/// Letters on their way.
struct Mover<'a> {
    gateway: &'a Gateway,
    pipeline: &'a Pipeline,
    how: Move,
    limit: u64,
    /// Ids that are asked for; [`None`] for all.
    wanted: Option<BTreeSet<String>>,
    found: BTreeSet<String>,
    chunk: Vec<Letter>,
    bytes: usize,
    moved: Moved,
}

impl<'a> Mover<'a> {
    fn new(gateway: &'a Gateway, pipeline: &'a Pipeline, how: Move, selection: Selection) -> Self {
        let before: DateTime<Utc> = selection.before.unwrap_or_else(Utc::now);
        Self {
            gateway,
            pipeline,
            how,
            limit: selection.limit.unwrap_or(MOST_MOVED).min(MOST_MOVED).into(),
            wanted: (!selection.all).then(|| selection.ids.into_iter().collect()),
            found: BTreeSet::new(),
            chunk: Vec::new(),
            bytes: 0,
            moved: Moved {
                before,
                ..Moved::default()
            },
        }
    }

    async fn run(&mut self, reader: &mut dyn DeadLetterReader) -> Result<(), Refusal> {
        let until = Instant::now() + LOOK;
        let mut seen = 0;
        loop {
            let taken = self.moved.moved + self.chunk.len() as u64;
            if taken >= self.limit || seen >= SCAN || Instant::now() >= until {
                self.moved.more = true;
                break;
            }
            let next = reader.next().await;
            let Some(letter) = next.map_err(|error| refuse(self.pipeline, &error))? else {
                break;
            };
            seen += 1;
            self.look(letter).await?;
            if self.chunk.len() >= CHUNK.0 || self.bytes >= CHUNK.1 {
                self.flush(reader).await?;
            }
        }
        self.flush(reader).await
    }

    /// Takes a letter that is asked for.
    async fn look(&mut self, letter: Letter) -> Result<(), Refusal> {
        let id = &letter.message.id;
        let asked = self.wanted.as_ref().is_none_or(|ids| ids.contains(id));
        if !asked || !letter::is_before(&letter, self.moved.before) {
            return Ok(());
        }
        self.found.insert(id.clone());
        if self.how == Move::Redrive
            && let Some(reason) = self.hindrance(&letter).await?
        {
            let id = letter.message.id;
            self.moved.kept.push(Kept { id, reason });
            return Ok(());
        }
        self.bytes += letter.message.body.len();
        self.chunk.push(letter);
        Ok(())
    }

    /// Why a letter would come to nothing in the work queue, where that is known.
    async fn hindrance(&self, letter: &Letter) -> Result<Option<String>, Refusal> {
        if !is_batch(self.pipeline) {
            return Ok(None);
        }
        let Some(work) = letter::file(letter) else {
            return Ok(Some(
                "it names no staged file: upload the file through the gateway, and purge this"
                    .to_owned(),
            ));
        };
        if work.pipeline != *self.pipeline.name {
            return Ok(Some(format!(
                "it is about a file of pipeline `{}`: upload it there, and purge this",
                work.pipeline
            )));
        }
        let asked = self.gateway.ask(self.gateway.backends.ledger.file(work.id));
        let record = asked.await.map_err(|error| files::refuse(&error))?;
        let ended = record.map(|record| record.state).filter(|state| {
            matches!(
                state,
                FileState::Done | FileState::Failed | FileState::Duplicate
            )
        });
        Ok(ended.map(|state| {
            let id = work.id;
            format!("file {id} has ended, as {state:?}: replay it (`simbdp replay {id}`), and purge this")
        }))
    }

    /// Moves what was taken.
    async fn flush(&mut self, reader: &mut dyn DeadLetterReader) -> Result<(), Refusal> {
        let chunk = std::mem::take(&mut self.chunk);
        self.bytes = 0;
        if chunk.is_empty() {
            return Ok(());
        }
        let (tags, hindered) = match self.how {
            Move::Purge => (chunk.iter().map(|letter| letter.tag).collect(), None),
            Move::Redrive => self.publish(&chunk).await?,
        };
        fail::fail_point!("after-redrive", |_| Err(Refusal::internal()));
        let removed = reader.remove(&tags).await;
        removed.map_err(|error| refuse(self.pipeline, &error))?;
        self.moved.moved += tags.len() as u64;
        hindered.map_or(Ok(()), Err)
    }

    /// Publishes to the work queue. The letters that are confirmed, and what hindered the others.
    async fn publish(
        &self,
        chunk: &[Letter],
    ) -> Result<(Vec<LetterTag>, Option<Refusal>), Refusal> {
        self.forget_attempts(chunk).await?;
        let messages: Vec<Message> = chunk.iter().map(letter::revived).collect();
        let results = self
            .gateway
            .publish(&self.pipeline.config.pipeline, messages)
            .await;
        let mut confirmed = Vec::with_capacity(chunk.len());
        let mut hindered = None;
        for (letter, result) in chunk.iter().zip(results) {
            match result {
                Ok(()) => confirmed.push(letter.tag),
                Err(error) => hindered = hindered.or_else(|| Some(self.unpublished(&error))),
            }
        }
        Ok((confirmed, hindered))
    }

    /// Attempts begin anew. Only what was tried several times may have any recorded.
    async fn forget_attempts(&self, chunk: &[Letter]) -> Result<(), Refusal> {
        let tried = chunk
            .iter()
            .filter(|one| letter::attempts(one).is_none_or(|attempts| attempts > 1));
        let ids: Vec<_> = tried.map(|one| one.message.id.clone()).collect();
        let ledger = Arc::clone(&self.gateway.backends.ledger);
        let name = &self.pipeline.name;
        let forget = |id: String| {
            let ledger = Arc::clone(&ledger);
            async move { self.gateway.ask(ledger.forget_attempts(name, &id)).await }
        };
        let mut forgotten = futures::stream::iter(ids)
            .map(forget)
            .buffer_unordered(FORGOTTEN);
        while let Some(result) = forgotten.next().await {
            result.map_err(|error| files::refuse(&error))?;
        }
        Ok(())
    }

    fn unpublished(&self, error: &PublishError) -> Refusal {
        tracing::warn!(%error, pipeline = %self.pipeline.name, "a dead letter cannot be redriven");
        let name = &self.pipeline.name;
        match error {
            PublishError::Full => Refusal::too_many(
                "queue-full",
                format!("the queue of pipeline `{name}` is full; the letters stay where they are"),
                Duration::from_secs(10),
            ),
            PublishError::Unavailable(_) => Refusal::unavailable(
                "broker-unreachable",
                "the broker does not confirm; the letters stay where they are, and repeating is harmless",
                Duration::from_secs(5),
            ),
            PublishError::NoQueue(_) => Refusal::unavailable(
                "no-queue",
                format!("the queue of pipeline `{name}` is not there yet"),
                Duration::from_secs(10),
            ),
        }
    }

    fn outcome(mut self, hindered: bool) -> Moved {
        self.moved.more |= hindered;
        let found = &self.found;
        let missing = self.wanted.into_iter().flatten();
        self.moved.missing = missing.filter(|id| !found.contains(id)).collect();
        self.moved
    }
}
