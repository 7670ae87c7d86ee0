use simbdp_api::pipeline::{Compression, Format};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

fn work(id: Uuid) -> Arc<FileWork> {
    Arc::new(FileWork {
        id,
        pipeline: "flights".into(),
        pipeline_uid: None,
        name: "a.csv".into(),
        format: Format::Csv,
        compression: Compression::None,
        size: 5,
        lines: 1,
        sha256: "00".into(),
        version: 1,
        user: "ann".into(),
        replica: "http://gateway-0".into(),
        force: false,
        accepted_at: 1,
        mends: None,
        mended_rows: false,
        replay: None,
    })
}

async fn stage(staging: &Staging, id: Uuid) {
    let slot = staging.admit(None).unwrap();
    let mut part = staging.create_part(id).await.unwrap();
    let mut file = part.take_file().unwrap();
    file.write_all(b"hello").await.unwrap();
    file.sync_all().await.unwrap();
    staging.stage(part, work(id), slot).await.unwrap();
}

fn listing(root: &Path, directory: &str) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(root.join(directory))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_staged_file_is_found_again_and_parts_are_cleared() {
    let root = tempfile::tempdir().unwrap();
    let staging = Staging::open(root.path()).unwrap();
    let (kept, queued) = (Uuid::now_v7(), Uuid::now_v7());
    stage(&staging, kept).await;
    stage(&staging, queued).await;
    staging.mark_published(queued).await;
    std::fs::write(root.path().join("incoming/x.part"), b"half").unwrap();
    std::fs::write(root.path().join("staged/y.data"), b"no manifest").unwrap();
    std::fs::write(root.path().join("staged/z.json"), b"{}").unwrap();
    let again = Staging::open(root.path()).unwrap();
    assert!(!again.index().get(kept).unwrap().published);
    assert!(again.index().get(queued).unwrap().published);
    assert_eq!(again.index().open(), 2);
    assert!(listing(root.path(), "incoming").is_empty());
    let mut expected = vec![
        format!("{kept}.data"),
        format!("{kept}.json"),
        format!("{queued}.data"),
        format!("{queued}.json"),
        format!("{queued}.queued"),
    ];
    expected.sort();
    assert_eq!(listing(root.path(), "staged"), expected);
    let mut text = String::new();
    again
        .content(kept)
        .await
        .unwrap()
        .read_to_string(&mut text)
        .await
        .unwrap();
    assert_eq!(text, "hello");
}

#[tokio::test]
async fn forgetting_leaves_nothing_and_may_be_repeated() {
    let root = tempfile::tempdir().unwrap();
    let staging = Staging::open(root.path()).unwrap();
    let id = Uuid::now_v7();
    stage(&staging, id).await;
    staging.forget(id).await.unwrap();
    staging.forget(id).await.unwrap();
    assert!(listing(root.path(), "staged").is_empty());
    assert_eq!(staging.index().open(), 0);
}

#[tokio::test]
async fn a_file_taken_back_waits_for_its_claim_over_a_restart() {
    let root = tempfile::tempdir().unwrap();
    let staging = Staging::open(root.path()).unwrap();
    let id = Uuid::now_v7();
    stage(&staging, id).await;
    staging.take_back(id).await.unwrap();
    assert_eq!(listing(root.path(), "staged"), [format!("{id}.undo")]);
    let again = Staging::open(root.path()).unwrap();
    assert_eq!(again.index().open(), 0);
    assert_eq!(again.index().undone(10)[0].id, id);
    again.released(id).await.unwrap();
    assert!(again.index().undone(10).is_empty());
    assert!(listing(root.path(), "staged").is_empty());
}

#[tokio::test]
async fn the_quota_counts_files_received_and_staged_once() {
    let root = tempfile::tempdir().unwrap();
    let staging = Staging::open(root.path()).unwrap();
    stage(&staging, Uuid::now_v7()).await;
    let slot = staging.admit(Some(2)).unwrap();
    assert!(staging.admit(Some(2)).is_none());
    drop(slot);
    assert!(staging.admit(Some(2)).is_some());
}

#[tokio::test]
async fn a_part_that_came_to_nothing_is_removed() {
    let root = tempfile::tempdir().unwrap();
    let staging = Staging::open(root.path()).unwrap();
    let part = staging.create_part(Uuid::now_v7()).await.unwrap();
    assert_eq!(listing(root.path(), "incoming").len(), 1);
    drop(part);
    assert!(listing(root.path(), "incoming").is_empty());
}

#[tokio::test]
async fn room_is_made_of_the_oldest_rejects_first_and_then_of_failed_files() {
    let root = tempfile::tempdir().unwrap();
    let staging = Staging::open(root.path()).unwrap();
    for age in [300, 200, 100] {
        let path = root.path().join(format!("rejects/{age}.ndjson"));
        let file = std::fs::File::create(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age))
            .unwrap();
    }
    let (failed, waiting) = (Uuid::now_v7(), Uuid::now_v7());
    stage(&staging, failed).await;
    stage(&staging, waiting).await;
    staging.index().update(failed, |entry| {
        entry.ended = Some(simbdp_api::wire::rest::FileState::Failed);
    });
    let short_of = |rejects: usize, staged: usize| {
        let root = root.path().to_owned();
        move || {
            let more = |directory, most| listing(&root, directory).len() > most;
            Ok(more("rejects", rejects) || more("staged", staged))
        }
    };
    staging.make_room_while(short_of(1, 9)).await.unwrap();
    assert_eq!(listing(root.path(), "rejects"), ["100.ndjson"]);
    staging.make_room_while(short_of(9, 2)).await.unwrap();
    let kept = [format!("{waiting}.data"), format!("{waiting}.json")];
    assert_eq!(listing(root.path(), "staged"), kept);
    let full = staging.make_room_while(short_of(0, 0)).await.unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(listing(root.path(), "staged"), kept, "what waits stays");
    staging.make_room(1).await.unwrap();
}

#[tokio::test]
async fn old_rejects_are_pruned_within_bounds() {
    let root = tempfile::tempdir().unwrap();
    let staging = Staging::open(root.path()).unwrap();
    for _ in 0..3 {
        let path = root
            .path()
            .join(format!("rejects/{}.ndjson", Uuid::now_v7()));
        let file = std::fs::File::create(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(100))
            .unwrap();
    }
    std::fs::write(root.path().join("rejects/young.ndjson"), b"").unwrap();
    let retention = Duration::from_secs(50);
    assert_eq!(staging.prune_rejects(retention, 2).await.unwrap(), 2);
    assert_eq!(staging.prune_rejects(retention, 2).await.unwrap(), 1);
    assert_eq!(listing(root.path(), "rejects"), ["young.ndjson"]);
}
