use std::time::Duration;

use async_compression::Level;
use async_compression::tokio::write::{GzipEncoder, ZstdEncoder};
use async_compression::zstd::CParameter;
use futures::StreamExt;

use super::*;

const BOUNDS: Bounds<'static> = Bounds {
    max_size: 1 << 20,
    patience: Patience {
        stall: Duration::from_secs(30),
        min_rate: 1024,
    },
    room: None,
};

async fn run(chunks: Vec<Bytes>, compression: Compression) -> Result<Received, ReceiveError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("part");
    let file = File::create(&path).await.unwrap();
    let all: Vec<u8> = chunks.concat();
    let body = futures::stream::iter(chunks.into_iter().map(Ok));
    let received = receive(body, file, compression, BOUNDS).await?;
    assert_eq!(
        std::fs::read(path).unwrap(),
        all,
        "the bytes are kept as they came"
    );
    assert_eq!(received.sha256, <[u8; 32]>::from(Sha256::digest(&all)));
    Ok(received)
}

async fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(content).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn zstd(content: &[u8], window_log: u32) -> Vec<u8> {
    let window = [CParameter::window_log(window_log)];
    let mut encoder = ZstdEncoder::with_quality_and_params(Vec::new(), Level::Default, &window);
    encoder.write_all(content).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

fn bytewise(content: &[u8]) -> Vec<Bytes> {
    content.chunks(1).map(Bytes::copy_from_slice).collect()
}

#[tokio::test]
async fn counts_every_kind_of_line_end_however_it_is_cut() {
    let cases: [(&[u8], u64); 8] = [
        (b"", 0),
        (b"a", 1),
        (b"a\n", 1),
        (b"a\nb", 2),
        (b"a\r\nb\r\n", 2),
        (b"a\rb\rc", 3),
        (b"\r\n\n\r\r\n", 4),
        (b"\n\n\n", 3),
    ];
    for (content, lines) in cases {
        for chunks in [vec![Bytes::from_static(content)], bytewise(content)] {
            let received = run(chunks, Compression::None).await.unwrap();
            assert_eq!(received.lines, lines, "{content:?}");
            assert_eq!(received.content_bytes, content.len() as u64);
        }
    }
}

#[tokio::test]
async fn measures_the_content_of_compressed_files() {
    let content = b"a,b\n1,2\n3,4\n".repeat(10_000);
    for (bytes, compression) in [
        (gzip(&content).await, Compression::Gzip),
        (zstd(&content, 20).await, Compression::Zstd),
    ] {
        let received = run(vec![bytes.clone().into()], compression).await.unwrap();
        assert_eq!(received.bytes, bytes.len() as u64);
        assert_eq!((received.content_bytes, received.lines), (120_000, 30_000));
        let twice = run(vec![bytes.clone().into(), bytes.into()], compression)
            .await
            .unwrap();
        assert_eq!(twice.lines, 60_000, "members follow one another");
    }
}

#[tokio::test]
async fn refuses_compressed_files_that_are_not_whole() {
    let content = b"a,b\n1,2\n".repeat(1000);
    for (bytes, compression) in [
        (gzip(&content).await, Compression::Gzip),
        (zstd(&content, 20).await, Compression::Zstd),
    ] {
        let truncated = Bytes::copy_from_slice(&bytes[..bytes.len() - 3]);
        let error = run(vec![truncated], compression).await.unwrap_err();
        assert!(error.to_string().contains("truncated"), "{error}");
        let garbage = [bytes.as_slice(), b"garbage that follows"].concat();
        let error = run(vec![garbage.into()], compression).await.unwrap_err();
        assert!(matches!(error, ReceiveError::Damaged { .. }), "{error}");
        let error = run(vec![bytes.into(), Bytes::from_static(b"x")], compression)
            .await
            .unwrap_err();
        assert!(matches!(error, ReceiveError::Damaged { .. }), "{error}");
        let error = run(vec![Bytes::from_static(b"plain text\n")], compression)
            .await
            .unwrap_err();
        assert!(matches!(error, ReceiveError::Damaged { .. }), "{error}");
        let error = run(vec![], compression).await.unwrap_err();
        assert!(matches!(error, ReceiveError::Damaged { .. }), "{error}");
    }
}

#[tokio::test]
async fn refuses_a_wrong_checksum_in_gzip() {
    let mut bytes = gzip(b"a,b\n1,2\n").await;
    let crc = bytes.len() - 8;
    bytes[crc] ^= 1;
    let error = run(vec![bytes.into()], Compression::Gzip)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("CRC"), "{error}");
}

#[tokio::test]
async fn a_bomb_is_refused_at_the_limit() {
    let zeros = vec![b'0'; 64 << 20];
    for (bytes, compression) in [
        (gzip(&zeros).await, Compression::Gzip),
        (zstd(&zeros, 20).await, Compression::Zstd),
    ] {
        assert!((bytes.len() as u64) < BOUNDS.max_size);
        let error = run(vec![bytes.into()], compression).await.unwrap_err();
        assert!(
            matches!(
                error,
                ReceiveError::TooLarge {
                    limit: 1_048_576,
                    uncompressed: true
                }
            ),
            "{error}"
        );
    }
}

#[tokio::test]
async fn zstd_windows_above_eight_mebibytes_are_refused() {
    let content = vec![b'0'; 1 << 16];
    run(vec![zstd(&content, 23).await.into()], Compression::Zstd)
        .await
        .unwrap();
    let error = run(vec![zstd(&content, 24).await.into()], Compression::Zstd)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("window is above 8 MiB"),
        "{error}"
    );
}

#[tokio::test]
async fn too_many_bytes_are_refused() {
    let error = run(vec![vec![b'x'; (1 << 20) + 1].into()], Compression::None)
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        ReceiveError::TooLarge {
            uncompressed: false,
            ..
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_upload_is_cut() {
    let directory = tempfile::tempdir().unwrap();
    let file = File::create(directory.path().join("part")).await.unwrap();
    let body = futures::stream::iter([Ok(Bytes::from_static(b"\x1f\x8b"))])
        .chain(futures::stream::pending());
    let error = receive(Box::pin(body), file, Compression::Gzip, BOUNDS)
        .await
        .unwrap_err();
    assert!(matches!(error, ReceiveError::Slow(_)), "{error}");
}

#[tokio::test]
async fn a_broken_upload_is_told_from_a_damaged_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = File::create(directory.path().join("part")).await.unwrap();
    let body = futures::stream::iter([
        Ok(Bytes::from(gzip(b"a").await)),
        Err(BoxError::from("connection reset")),
    ]);
    let error = receive(body, file, Compression::Gzip, BOUNDS)
        .await
        .unwrap_err();
    assert!(matches!(error, ReceiveError::Cut(_)), "{error}");
}
