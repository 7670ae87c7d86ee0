//! The ledger under races: states, claims, counts, lists, totals, attempts.

use futures::future::join_all;
use simbdp_api::pipeline::{Compression, Format, Period};
use simbdp_api::wire::rest::FileState;
use simbdp_api::wire::work::{FileWork, Replay};
use simbdp_coredms::Ledger;
use simbdp_coredms::ledger::{Claim, FileQuery, Outcome, Taken, Totals};
use simbdp_coredms::store::StoreError;
use uuid::{NoContext, Timestamp, Uuid};

use crate::server::{Server, database, login_of, tenancy, tenant};

on_each_engine! {
    a_file_goes_from_staged_to_done_and_stays_there
    two_takers_of_one_file_end_it_once
    one_of_two_files_with_the_same_bytes_is_ingested
    two_claimers_of_one_content
    a_claim_passes_on_from_what_failed_from_what_is_not_there_and_by_force
    counts_are_exact_under_concurrency
    files_are_listed_newest_first_across_days
    totals_are_overwritten_and_summed
    attempts_are_counted_until_they_are_forgotten
    a_file_that_has_ended_is_opened_again_once
    mended_rows_are_another_content
    files_of_a_tenant_are_counted_exactly_by_several_gateways
}

fn work(pipeline: &str, sha256: &str) -> FileWork {
    FileWork {
        id: Uuid::now_v7(),
        pipeline: pipeline.to_owned(),
        pipeline_uid: None,
        name: "flights.csv".to_owned(),
        format: Format::Csv,
        compression: Compression::Gzip,
        size: 31_000_000,
        lines: 336_777,
        sha256: sha256.to_owned(),
        version: 1,
        user: "writer".to_owned(),
        replica: "http://gateway-0".to_owned(),
        force: false,
        accepted_at: 1_700_000_000_123,
        mends: None,
        mended_rows: false,
        replay: None,
    }
}

fn outcome(state: FileState) -> Outcome {
    Outcome {
        state,
        accepted: 10,
        rejected: 2,
        seconds: 1.5,
        rejects: Some("/v1/files/x/rejects".to_owned()),
        error: None,
        duplicate_of: None,
    }
}

async fn state(ledger: &dyn Ledger, id: Uuid) -> FileState {
    ledger.file(id).await.unwrap().unwrap().state
}

async fn a_file_goes_from_staged_to_done_and_stays_there(on: &dyn Server) {
    let ledger = tenant(on, "l_states").await.ledger;
    let work = work("p", "aa");
    assert_eq!(ledger.file(work.id).await.unwrap(), None);
    ledger.queued(work.id).await.unwrap();
    assert_eq!(
        ledger.file(work.id).await.unwrap(),
        None,
        "queued enters nothing"
    );
    ledger.staged(&work).await.unwrap();
    ledger.staged(&work).await.unwrap();
    assert_eq!(state(&*ledger, work.id).await, FileState::Staged);
    ledger.queued(work.id).await.unwrap();
    assert_eq!(state(&*ledger, work.id).await, FileState::Queued);
    ledger.staged(&work).await.unwrap();
    assert_eq!(
        state(&*ledger, work.id).await,
        FileState::Queued,
        "a later state stays"
    );
    assert_eq!(ledger.take(&work, "one").await.unwrap(), Taken::Ingest);
    ledger.queued(work.id).await.unwrap();
    assert_eq!(state(&*ledger, work.id).await, FileState::Ingesting);
    assert_eq!(
        ledger.take(&work, "two").await.unwrap(),
        Taken::Ingest,
        "the first died"
    );
    assert!(
        ledger
            .ended(work.id, &outcome(FileState::Done))
            .await
            .unwrap()
    );
    assert!(
        !ledger
            .ended(work.id, &outcome(FileState::Failed))
            .await
            .unwrap()
    );
    assert_eq!(
        ledger.take(&work, "two").await.unwrap(),
        Taken::Ended(FileState::Done)
    );

    let file = ledger.file(work.id).await.unwrap().unwrap();
    assert_eq!(
        (file.format, file.compression),
        (Format::Csv, Compression::Gzip)
    );
    assert_eq!((file.accepted, file.rejected), (Some(10), Some(2)));
    assert_eq!((file.seconds, file.bytes), (Some(1.5), 31_000_000));
    assert_eq!(file.rejects.as_deref(), Some("/v1/files/x/rejects"));
    assert_eq!(
        (file.name.as_str(), file.user.as_str()),
        ("flights.csv", "writer")
    );
    assert_eq!(file.accepted_at.timestamp_millis(), 1_700_000_000_123);
    assert!(file.updated_at > file.accepted_at);
}

async fn two_takers_of_one_file_end_it_once(on: &dyn Server) {
    let ledger = tenant(on, "l_takers").await.ledger;
    for n in 0..5 {
        let work = work("p", &format!("sha {n}"));
        let (one, two) = tokio::join!(ledger.take(&work, "one"), ledger.take(&work, "two"));
        assert_eq!((one.unwrap(), two.unwrap()), (Taken::Ingest, Taken::Ingest));
        let (done, failed) = (outcome(FileState::Done), outcome(FileState::Failed));
        let (one, two) = tokio::join!(ledger.ended(work.id, &done), ledger.ended(work.id, &failed));
        assert!(one.unwrap() ^ two.unwrap(), "exactly one ends it");
    }
}

async fn one_of_two_files_with_the_same_bytes_is_ingested(on: &dyn Server) {
    let ledger = tenant(on, "l_same").await.ledger;
    for n in 0..8 {
        let sha256 = format!("sha {n}");
        let files = [work("p", &sha256), work("p", &sha256), work("p", &sha256)];
        let taken = join_all(files.iter().map(|file| ledger.take(file, "i"))).await;
        let ingested: Vec<_> = taken
            .iter()
            .zip(&files)
            .filter(|(taken, _)| matches!(taken, Ok(Taken::Ingest)))
            .map(|(_, file)| file.id)
            .collect();
        assert_eq!(ingested.len(), 1, "{taken:?}");
        for (taken, file) in taken.iter().zip(&files) {
            if matches!(taken, Ok(Taken::Ended(_))) {
                let record = ledger.file(file.id).await.unwrap().unwrap();
                assert_eq!(record.state, FileState::Duplicate);
                assert_eq!(record.duplicate_of, Some(ingested[0]));
            }
        }
    }
}

async fn two_claimers_of_one_content(on: &dyn Server) {
    let ledger = tenant(on, "l_claims").await.ledger;
    let (first, second) = (work("p", "aa"), work("p", "aa"));
    ledger.staged(&first).await.unwrap();
    ledger.staged(&second).await.unwrap();
    let (one, two) = tokio::join!(ledger.claim(&first), ledger.claim(&second));
    let (winner, loser) = match (one.unwrap(), two.unwrap()) {
        (Claim::Granted, Claim::TakenBy(holder)) if holder == first.id => (first, second),
        (Claim::TakenBy(holder), Claim::Granted) if holder == second.id => (second, first),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        ledger.claim(&winner).await.unwrap(),
        Claim::Granted,
        "again"
    );
    let elsewhere = work("other", "aa");
    assert_eq!(ledger.claim(&elsewhere).await.unwrap(), Claim::Granted);

    // Only the holder releases.
    ledger.release(&loser).await.unwrap();
    assert_eq!(
        ledger.claim(&loser).await.unwrap(),
        Claim::TakenBy(winner.id)
    );
    ledger.release(&winner).await.unwrap();
    assert_eq!(ledger.claim(&loser).await.unwrap(), Claim::Granted);
}

async fn a_claim_passes_on_from_what_failed_from_what_is_not_there_and_by_force(on: &dyn Server) {
    let ledger = tenant(on, "l_pass").await.ledger;
    let (lost, failed, done, forced) = (
        work("p", "aa"),
        work("p", "aa"),
        work("p", "aa"),
        work("p", "aa"),
    );
    // The gateway died before the file was in the ledger.
    assert_eq!(ledger.claim(&lost).await.unwrap(), Claim::Granted);
    assert_eq!(ledger.take(&failed, "i").await.unwrap(), Taken::Ingest);
    ledger
        .ended(failed.id, &outcome(FileState::Failed))
        .await
        .unwrap();
    assert_eq!(ledger.take(&done, "i").await.unwrap(), Taken::Ingest);
    ledger
        .ended(done.id, &outcome(FileState::Done))
        .await
        .unwrap();
    assert_eq!(
        ledger.claim(&forced).await.unwrap(),
        Claim::TakenBy(done.id)
    );
    let forced = FileWork {
        force: true,
        ..forced
    };
    assert_eq!(ledger.take(&forced, "i").await.unwrap(), Taken::Ingest);
    // It was there all the same, and comes late: it is a duplicate, and nothing is lost.
    assert_eq!(
        ledger.take(&lost, "i").await.unwrap(),
        Taken::Ended(FileState::Duplicate)
    );
}

async fn counts_are_exact_under_concurrency(on: &dyn Server) {
    let ledger = tenant(on, "l_counts").await.ledger;
    let at = 1_700_000_000_000;
    let counts = join_all((0..20).map(|_| ledger.count_file("p", Period::Day, at, 7))).await;
    let counted = counts
        .into_iter()
        .filter(|counted| *counted.as_ref().unwrap())
        .count();
    assert_eq!(counted, 7);
    assert!(!ledger.count_file("p", Period::Day, at, 7).await.unwrap());
    ledger.uncount_file("p", Period::Day, at).await.unwrap();
    assert!(ledger.count_file("p", Period::Day, at, 7).await.unwrap());
    assert!(!ledger.count_file("p", Period::Day, at, 7).await.unwrap());
    // Another scope, another period, the next day.
    assert!(ledger.count_file("*", Period::Day, at, 1).await.unwrap());
    assert!(ledger.count_file("p", Period::Hour, at, 1).await.unwrap());
    assert!(
        ledger
            .count_file("p", Period::Day, at + 86_400_000, 1)
            .await
            .unwrap()
    );
    // Nothing to take back is fine.
    ledger.uncount_file("never", Period::Day, at).await.unwrap();
    assert!(
        ledger
            .count_file("never", Period::Day, at, 1)
            .await
            .unwrap()
    );
}

async fn files_are_listed_newest_first_across_days(on: &dyn Server) {
    let ledger = tenant(on, "l_list").await.ledger;
    let mut files = Vec::new();
    for day in 0..4_u64 {
        for n in 0..5_u64 {
            let at = Timestamp::from_unix(NoContext, 1_700_000_000 + day * 30 * 86_400 + n, 0);
            let pipeline = if n % 2 == 0 { "even" } else { "odd" };
            let mut file = work(pipeline, &format!("{day} {n}"));
            file.id = Uuid::new_v7(at);
            ledger.staged(&file).await.unwrap();
            files.push(file);
        }
    }
    files.sort_by_key(|file| std::cmp::Reverse(file.id));
    let done = files[7].id;
    ledger.take(&files[7], "i").await.unwrap();
    ledger.ended(done, &outcome(FileState::Done)).await.unwrap();
    let ids = |files: &[FileWork]| files.iter().map(|file| file.id).collect::<Vec<_>>();

    let mut query = FileQuery {
        limit: 6,
        ..FileQuery::default()
    };
    let mut listed = Vec::new();
    loop {
        let page = ledger.files(&query).await.unwrap();
        assert!(page.files.len() <= 6);
        listed.extend(page.files.iter().map(|file| file.id));
        match page.next_page {
            Some(next) => query.page = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, ids(&files));

    let odd: Vec<_> = files
        .iter()
        .filter(|f| f.pipeline == "odd")
        .cloned()
        .collect();
    let query = FileQuery {
        pipeline: Some("odd".to_owned()),
        limit: 100,
        ..FileQuery::default()
    };
    let page = ledger.files(&query).await.unwrap();
    assert_eq!(
        page.files.iter().map(|f| f.id).collect::<Vec<_>>(),
        ids(&odd)
    );
    assert_eq!(page.next_page, None);

    let query = FileQuery {
        state: Some(FileState::Done),
        limit: 100,
        ..FileQuery::default()
    };
    let page = ledger.files(&query).await.unwrap();
    assert_eq!(page.files.iter().map(|f| f.id).collect::<Vec<_>>(), [done]);

    let query = FileQuery {
        page: Some("nonsense".to_owned()),
        limit: 1,
        ..FileQuery::default()
    };
    assert!(matches!(
        ledger.files(&query).await,
        Err(StoreError::BadQuery(_))
    ));
}

async fn totals_are_overwritten_and_summed(on: &dyn Server) {
    let ledger = tenant(on, "l_totals").await.ledger;
    assert_eq!(ledger.totals("p").await.unwrap(), Totals::default());
    for rows in [5, 9] {
        let totals = Totals { rows, rejected: 1 };
        ledger.put_totals("p", "one", totals).await.unwrap();
        ledger.put_totals("p", "one", totals).await.unwrap();
    }
    let totals = Totals {
        rows: 100,
        rejected: 0,
    };
    ledger.put_totals("p", "two", totals).await.unwrap();
    ledger.put_totals("other", "one", totals).await.unwrap();
    assert_eq!(
        ledger.totals("p").await.unwrap(),
        Totals {
            rows: 109,
            rejected: 1
        }
    );
}

async fn attempts_are_counted_until_they_are_forgotten(on: &dyn Server) {
    let ledger = tenant(on, "l_attempts").await.ledger;
    assert_eq!(ledger.attempt("p", "m:1").await.unwrap(), 1);
    assert_eq!(ledger.attempt("p", "m:1").await.unwrap(), 2);
    assert_eq!(ledger.attempt("p", "m:2").await.unwrap(), 1);
    ledger.forget_attempts("p", "m:1").await.unwrap();
    ledger.forget_attempts("p", "m:1").await.unwrap();
    assert_eq!(ledger.attempt("p", "m:1").await.unwrap(), 1);
    let attempts = join_all((0..5).map(|_| ledger.attempt("p", "m:3"))).await;
    let mut attempts: Vec<_> = attempts.into_iter().map(Result::unwrap).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, [1, 2, 3, 4, 5]);
}

async fn a_file_that_has_ended_is_opened_again_once(on: &dyn Server) {
    let ledger = tenant(on, "l_replay").await.ledger;
    let first = work("p", "aa");
    let again = |number| FileWork {
        replay: Some(Replay {
            number,
            rejects: true,
            accepted: 10,
            rejected: 2,
        }),
        ..first.clone()
    };
    let (done, failed) = (FileState::Done, FileState::Failed);
    assert!(!ledger.replay(&again(1), done).await.unwrap(), "not there");
    assert_eq!(ledger.take(&first, "i").await.unwrap(), Taken::Ingest);
    assert!(!ledger.replay(&again(1), done).await.unwrap(), "under way");
    let mut ended = outcome(failed);
    ended.error = Some("no header".to_owned());
    ledger.ended(first.id, &ended).await.unwrap();
    assert!(!ledger.replay(&again(1), done).await.unwrap(), "it failed");
    let (one, two) = (again(1), again(1));
    let (one, two) = tokio::join!(ledger.replay(&one, failed), ledger.replay(&two, failed));
    assert!(one.unwrap() ^ two.unwrap(), "exactly one opens it");
    let file = ledger.file(first.id).await.unwrap().unwrap();
    assert_eq!((file.state, file.replays), (FileState::Staged, Some(1)));
    assert_eq!((file.error, file.accepted), (None, Some(10)));
    assert_eq!(ledger.take(&again(1), "i").await.unwrap(), Taken::Ingest);
    assert!(ledger.ended(first.id, &outcome(done)).await.unwrap());
    assert!(ledger.replay(&again(2), done).await.unwrap());
    let file = ledger.file(first.id).await.unwrap().unwrap();
    assert_eq!((file.replays, file.mends), (Some(2), None));
}

async fn mended_rows_are_another_content(on: &dyn Server) {
    let ledger = tenant(on, "l_mended").await.ledger;
    let mending = |mends| FileWork {
        mends: Some(mends),
        mended_rows: true,
        ..work("p", "aa")
    };
    let plain = work("p", "aa");
    let (of_one, of_two) = (mending(Uuid::from_u128(1)), mending(Uuid::from_u128(2)));
    for file in [&plain, &of_one, &of_two] {
        assert_eq!(ledger.take(file, "i").await.unwrap(), Taken::Ingest);
    }
    let file = ledger.file(of_one.id).await.unwrap().unwrap();
    assert_eq!(file.mends, of_one.mends);
    let same = mending(Uuid::from_u128(2));
    assert_eq!(
        ledger.claim(&same).await.unwrap(),
        Claim::TakenBy(of_two.id)
    );
}

/// Each gateway counts with a session of its own, in its pipeline's count and in the tenant's: what one refuses it
/// takes back, and no file more than the limits is ever let through.
async fn files_of_a_tenant_are_counted_exactly_by_several_gateways(on: &dyn Server) {
    const AT: i64 = 1_700_000_000_000;
    let mut gateways = vec![tenant(on, "l_gateways").await.ledger];
    let tenancy = tenancy(on, "l_gateways");
    for _ in 0..2 {
        let session = database(login_of(on, &tenancy.platform_role));
        gateways.push(session.ledger(&tenancy.platform_keyspace));
    }
    // Two pipelines of 9 an hour each, a tenant of 12 a day, 30 uploads at once.
    let uploads = (0..30).map(|n| {
        let ledger = gateways[n % gateways.len()].clone();
        let pipeline = if n % 2 == 0 { "even" } else { "odd" };
        async move {
            if !ledger.count_file(pipeline, Period::Hour, AT, 9).await? {
                return Ok::<_, StoreError>((pipeline, false));
            }
            if ledger.count_file("*", Period::Day, AT, 12).await? {
                return Ok((pipeline, true));
            }
            ledger.uncount_file(pipeline, Period::Hour, AT).await?;
            Ok((pipeline, false))
        }
    });
    let uploads: Vec<_> = join_all(uploads).await;
    let uploads: Vec<_> = uploads.into_iter().map(Result::unwrap).collect();
    let accepted = |of: &str| {
        let of = uploads.iter().filter(|(name, yes)| *yes && *name == of);
        u32::try_from(of.count()).unwrap()
    };
    let (even, odd) = (accepted("even"), accepted("odd"));
    assert_eq!(even + odd, 12, "{uploads:?}");
    assert!(even <= 9 && odd <= 9, "{uploads:?}");
    // What is counted is what was let through: no more, no less.
    for (pipeline, count) in [("even", even), ("odd", odd)] {
        let ledger = &gateways[1];
        let limit = count + 1;
        assert!(
            ledger
                .count_file(pipeline, Period::Hour, AT, limit)
                .await
                .unwrap()
        );
        assert!(
            !ledger
                .count_file(pipeline, Period::Hour, AT, limit)
                .await
                .unwrap()
        );
    }
    assert!(
        !gateways[2]
            .count_file("*", Period::Day, AT, 12)
            .await
            .unwrap()
    );
}
