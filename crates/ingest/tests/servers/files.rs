//! Files from the queue into the table, through the program.

use std::fmt::Write;

use async_compression::Level;
use async_compression::tokio::write::ZstdEncoder;
use async_compression::zstd::CParameter;
use axum::body::Bytes;
use serde_json::json;
use simbdp_api::pipeline::Compression;
use simbdp_api::wire::rest::FileState;
use tokio::io::AsyncWriteExt;

use crate::support::{Pair, Pipeline, on_each_pair, until};

on_each_pair! {
    a_file_goes_from_the_queue_into_the_table
    memory_does_not_depend_on_the_size_of_the_file
    killed_between_write_and_acknowledgement_and_in_mid_file_nothing_is_lost_or_doubled
}

fn mode() -> serde_json::Value {
    json!({"type": "batch", "formats": ["csv"], "compression": ["none", "zstd"], "maxFileSize": 1 << 30})
}

fn csv(rows: i32) -> String {
    let mut text = String::from("all,id,name\n");
    for id in 0..rows {
        writeln!(text, "x,{id},n{id}").unwrap();
    }
    text
}

/// Compressed with a window of two to the power of `window` bytes.
async fn zstd(content: &[u8], window: u32) -> Vec<u8> {
    let parameters = [CParameter::window_log(window)];
    let mut encoder = ZstdEncoder::with_quality_and_params(Vec::new(), Level::Fastest, &parameters);
    encoder.write_all(content).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn assert_whole(pipeline: &Pipeline, rows: i32) {
    let found = pipeline.rows().await;
    assert_eq!(found.len(), rows as usize);
    for (id, name) in found {
        assert_eq!(name, format!("n{id}"));
    }
}

async fn a_file_goes_from_the_queue_into_the_table(pair: Pair) {
    let pipeline = Pipeline::new(pair, "files", mode()).await;
    let mut app = pipeline.start().await;
    let mut content = csv(20_000);
    content.push_str("x,not a number,n\n");
    let work = pipeline.upload(content, Compression::None).await;
    let file = pipeline.file(work.id).await;
    assert_eq!((file.state, file.error.as_deref()), (FileState::Done, None));
    assert_eq!((file.accepted, file.rejected), (Some(20_000), Some(1)));
    assert_eq!(file.rejects, Some(format!("/v1/files/{}/rejects", work.id)));
    assert_whole(&pipeline, 20_000).await;
    let rejects = pipeline.gateway.state.rejects.lock().unwrap()[&work.id].clone();
    assert!(
        rejects.contains(r#""line":20002"#) && rejects.contains(r#""column":"id""#),
        "{rejects}"
    );
    // That of a file with rejects is kept, since it may be replayed; that of a whole one is not.
    let whole = pipeline.upload(csv(10), Compression::None).await;
    assert_eq!(pipeline.file(whole.id).await.state, FileState::Done);
    until("the staged content is dropped", async || {
        let kept = pipeline.gateway.state.content.lock().unwrap();
        kept.keys().eq([&work.id])
    })
    .await;
    let counted = format!(
        "simbdp_ingest_files_total{{tenant=\"{}\",pipeline=\"p\",result=\"done\"}} 2",
        pipeline.tenant
    );
    assert!(app.metrics().await.contains(&counted));
    assert!(app.stop().await.success());
    let log = app.log();
    assert_eq!(log.matches("\"file ended\"").count(), 2, "{log}");
    assert!(!log.contains("of p_files"), "a password is in the log");
    assert_eq!(pipeline.ledger.totals("p").await.unwrap().rows, 20_010);
}

async fn memory_does_not_depend_on_the_size_of_the_file(pair: Pair) {
    let pipeline = Pipeline::new(pair, "memory", mode()).await;
    let mut app = pipeline.start().await;
    // One row in a hundred is good, so that the sink is not what the time is spent in.
    let mut content = String::from("all,id,name\n");
    for id in 0..500_000 {
        let number = if id % 100 == 0 { "" } else { "no" };
        writeln!(content, "x,{number}{id},a name of thirty characters or so").unwrap();
    }
    // The largest window that is taken: as much as the decompressor may hold.
    let compressed = zstd(content.as_bytes(), 23).await;
    for (staged, compression) in [
        (Bytes::from(content), Compression::None),
        (Bytes::from(compressed), Compression::Zstd),
    ] {
        let work = pipeline.upload(staged, compression).await;
        let file = pipeline.file(work.id).await;
        assert_eq!((file.accepted, file.rejected), (Some(5_000), Some(495_000)));
    }
    let peak = app.peak_memory();
    println!("peak memory: {} KiB", peak / 1024);
    // A release's own file has 20 MiB at most of 64.
    assert!(peak < 44 << 20, "{peak} bytes");
    assert!(app.stop().await.success());
}

#[cfg(feature = "failpoints")]
async fn killed_between_write_and_acknowledgement_and_in_mid_file_nothing_is_lost_or_doubled(
    pair: Pair,
) {
    let pipeline = Pipeline::new(pair, "killed", mode()).await;
    for (point, action) in [
        ("mid-file", "2*off->abort"),
        ("after-write", "abort"),
        ("after-ledger", "abort"),
    ] {
        let mut app = pipeline.start().await;
        app.fail_at(point, action).await;
        let mut content = csv(10_000);
        writeln!(content, "x,{point},n").unwrap();
        let work = pipeline.upload(content, Compression::None).await;
        app.died().await;

        let mut app = pipeline.start().await;
        let file = pipeline.file(work.id).await;
        assert_eq!(
            (file.state, file.accepted, file.rejected),
            (FileState::Done, Some(10_000), Some(1)),
            "{point}"
        );
        until("the message is acknowledged", async || {
            pipeline.depths().await == (0, 0)
        })
        .await;
        assert_whole(&pipeline, 10_000).await;
        assert!(app.stop().await.success());
    }
}
