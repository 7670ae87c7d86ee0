//! Checks a file against its pipeline's constraints before anything is sent, by the gateway's own rules.

use std::path::{Path, PathBuf};

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use sha2::{Digest, Sha256};
use simbdp_api::pipeline::{Compression, Format};
use simbdp_api::wire::rest::{Field, PipelineConstraints};
use simbdp_record::{FileName, FileRules};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

use crate::error::CliError;

/// Bytes of a file's beginning in which its header must lie.
const HEADER_BYTES: usize = 64 << 10;
/// Windows of zstd frames may have 2 to the power of this many bytes, as the gateway has it: 8 MiB.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A file that conforms.
#[derive(Clone, Debug)]
pub struct Conforming {
    pub path: PathBuf,
    pub name: FileName,
    /// Bytes as they lie there.
    pub size: u64,
    /// SHA-256 of the bytes as they lie there.
    pub sha256: [u8; 32],
}

/// A file that does not, and every reason why.
#[derive(Clone, Debug)]
pub struct NonConforming {
    pub path: PathBuf,
    pub reasons: Vec<String>,
}

/// What files are checked against.
pub struct Checker {
    rules: FileRules,
    fields: Vec<Field>,
}

impl Checker {
    /// For a batch pipeline.
    pub fn new(pipeline: &PipelineConstraints) -> Result<Self, CliError> {
        let batch = pipeline.batch.as_ref().ok_or_else(|| {
            CliError::Usage(format!(
                "`{}` is a stream pipeline: send it messages with `simbdp ingestmessage {0}`",
                pipeline.pipeline
            ))
        })?;
        let rules = FileRules::new(batch).map_err(|e| CliError::Usage(e.to_string()))?;
        Ok(Self {
            rules,
            fields: pipeline.fields.clone(),
        })
    }

    /// Reads the file once: name, format, compression, size, header, checksum.
    pub async fn check(&self, path: &Path) -> Result<Conforming, NonConforming> {
        let refuse = |reasons| NonConforming {
            path: path.to_owned(),
            reasons,
        };
        let text = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let name = FileName::parse(text).map_err(|e| refuse(vec![e.to_string()]))?;
        let mut reasons: Vec<String> = self
            .rules
            .check(&name, None)
            .iter()
            .map(ToString::to_string)
            .collect();
        let unreadable = |e: std::io::Error| refuse(vec![format!("it cannot be read: {e}")]);
        let (size, sha256) = digest(path).await.map_err(unreadable)?;
        match self.look_inside(path, &name).await {
            Ok(found) => reasons.extend(found),
            Err(error) => reasons.push(damaged(&error)),
        }
        if reasons.is_empty() {
            Ok(Conforming {
                path: path.to_owned(),
                name,
                size,
                sha256,
            })
        } else {
            Err(refuse(reasons))
        }
    }

    /// Uncompressed size within the limit, and the header of a CSV.
    async fn look_inside(&self, path: &Path, name: &FileName) -> std::io::Result<Vec<String>> {
        let limit = self.rules.constraints().max_file_size;
        let mut content = decompressed(path, name.compression()).await?;
        let mut beginning = Vec::with_capacity(HEADER_BYTES);
        let mut size = 0u64;
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            let read = content.read(&mut buffer).await?;
            size += read as u64;
            let room = HEADER_BYTES.saturating_sub(beginning.len());
            beginning.extend_from_slice(&buffer[..read.min(room)]);
            if read == 0 || size > limit {
                break;
            }
        }
        let too_large = self
            .rules
            .check_size(size, size > limit)
            .map(|violation| violation.to_string());
        let header = (name.format() == Format::Csv).then(|| self.check_header(&beginning));
        Ok(too_large
            .into_iter()
            .chain(header.into_iter().flatten())
            .collect())
    }

    fn check_header(&self, beginning: &[u8]) -> Vec<String> {
        // The tenant's own program reads the files, whatever they have.
        if self.fields.is_empty() {
            return Vec::new();
        }
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning);
        if text.is_empty() {
            return vec!["it is empty: a CSV file begins with a header line".to_owned()];
        }
        let mut reader = csv::Reader::from_reader(text);
        let header = match reader.headers() {
            Ok(header) => header.clone(),
            Err(error) => return vec![format!("its header cannot be read: {error}")],
        };
        let missing = self
            .fields
            .iter()
            .filter(|field| !header.iter().any(|name| name == field.name));
        let unknown = header
            .iter()
            .filter(|name| !self.fields.iter().any(|field| field.name == *name));
        missing
            .map(|field| format!("its header lacks the column `{}`", field.name))
            .chain(unknown.map(|name| {
                format!("its header has the column `{name}`, which the pipeline does not know")
            }))
            .collect()
    }
}

async fn decompressed(
    path: &Path,
    compression: Compression,
) -> std::io::Result<Box<dyn AsyncRead + Unpin + Send>> {
    let file = BufReader::new(File::open(path).await?);
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => {
            let mut decoder = GzipDecoder::new(file);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
        Compression::Zstd => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
            let mut decoder = ZstdDecoder::with_params(file, &[window]);
            decoder.multiple_members(true);
            Box::new(decoder)
        }
    })
}

fn damaged(error: &std::io::Error) -> String {
    let text = error.to_string();
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        "it cannot be decompressed: it is truncated".to_owned()
    } else if text.contains("too much memory") {
        "its zstd window is above 8 MiB; compress it without --long or --ultra".to_owned()
    } else {
        format!("it cannot be decompressed: {text}")
    }
}

async fn digest(path: &Path) -> std::io::Result<(u64, [u8; 32])> {
    let mut file = File::open(path).await?;
    let mut hash = Sha256::new();
    let mut size = 0u64;
    let mut buffer = vec![0u8; 256 << 10];
    loop {
        let read = file.read(&mut buffer).await?;
        if read == 0 {
            return Ok((size, hash.finalize().into()));
        }
        size += read as u64;
        hash.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use async_compression::Level;
    use async_compression::tokio::write::ZstdEncoder;
    use async_compression::zstd::CParameter;
    use simbdp_api::column_type::{ColumnType, ScalarType};
    use simbdp_api::wire::config::BatchConstraints;
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn checker() -> Checker {
        let field = |name: &str| Field {
            name: name.into(),
            column: name.into(),
            column_type: ColumnType::Scalar(ScalarType::Text),
            required: false,
        };
        Checker::new(&PipelineConstraints {
            pipeline: "p".into(),
            table: "t".into(),
            batch: Some(BatchConstraints {
                formats: vec![Format::Csv],
                compression: vec![Compression::None, Compression::Zstd],
                max_file_size: 20,
                max_files: None,
                tenant_max_files: None,
                name_pattern: Some("[a-z]+.csv(.zst)?".into()),
                schedule: None,
            }),
            stream: None,
            fields: vec![field("a"), field("b")],
        })
        .unwrap()
    }

    async fn reasons(name: &str, content: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        checker()
            .check(&path)
            .await
            .map_or_else(|bad| bad.reasons.join("; "), |_| String::new())
    }

    #[tokio::test]
    async fn each_way_not_to_conform_is_named() {
        assert_eq!(reasons("good.csv", b"b,a\n1,2\n").await, "");
        assert_eq!(reasons("bom.csv", b"\xef\xbb\xbfa,b\n").await, "");
        assert!(reasons("good.ndjson", b"{}\n").await.contains("format"));
        assert!(reasons("Bad.csv", b"a,b\n").await.contains("[a-z]+.csv"));
        assert!(reasons("noextension", b"a,b\n").await.contains("csv"));
        assert!(
            reasons("large.csv", b"a,b\n1,2\n1,2\n1,2\n1,2\n1,2\n")
                .await
                .contains("20")
        );
        assert!(reasons("missing.csv", b"a\n").await.contains("`b`"));
        assert!(reasons("extra.csv", b"a,b,c\n").await.contains("`c`"));
        assert!(reasons("empty.csv", b"").await.contains("empty"));
    }

    #[tokio::test]
    async fn a_header_is_the_business_of_a_tenants_own_program() {
        let mut checker = checker();
        checker.fields.clear();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.csv");
        std::fs::write(&path, b"x,y,z\n").unwrap();
        assert!(checker.check(&path).await.is_ok());
    }

    async fn zstd(content: &[u8], window_log: u32) -> Vec<u8> {
        let window = [CParameter::window_log(window_log)];
        let mut encoder = ZstdEncoder::with_quality_and_params(Vec::new(), Level::Default, &window);
        encoder.write_all(content).await.unwrap();
        encoder.shutdown().await.unwrap();
        encoder.into_inner()
    }

    #[tokio::test]
    async fn zstd_windows_above_eight_mebibytes_do_not_conform() {
        let fits = zstd(b"a,b\n1,2\n", ZSTD_WINDOW_LOG).await;
        assert_eq!(reasons("fits.csv.zst", &fits).await, "");
        let large = zstd(b"a,b\n1,2\n", ZSTD_WINDOW_LOG + 1).await;
        assert_eq!(
            reasons("large.csv.zst", &large).await,
            "its zstd window is above 8 MiB; compress it without --long or --ultra"
        );
        let second = [fits.clone(), large].concat();
        assert!(
            reasons("second.csv.zst", &second).await.contains("8 MiB"),
            "every frame counts"
        );
        assert!(
            reasons("cut.csv.zst", &fits[..fits.len() - 3])
                .await
                .contains("truncated")
        );
    }

    #[tokio::test]
    async fn the_checksum_is_that_of_the_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("good.csv");
        std::fs::write(&path, b"a,b\n").unwrap();
        let good = checker().check(&path).await.unwrap();
        assert_eq!(
            hex::encode(good.sha256),
            hex::encode(Sha256::digest(b"a,b\n"))
        );
        assert_eq!(good.size, 4);
    }
}
