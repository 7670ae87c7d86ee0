//! The main job on real files: CSV with nulls, gzip, NDJSON and messages end in the tenant's own tables.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use simbdp_api::wire::rest::{FileState, RejectedRow};

use crate::harness::TestTenant;
use crate::table::{Cells, assert_same, from_csv};

for_each_engine!(
    a_file_with_nulls_is_the_table_cell_by_cell,
    a_compressed_file_with_bad_rows_is_ingested_and_they_are_quarantined,
    messages_are_rows_and_a_repeated_post_shows_once,
    status_shows_the_real_figures,
);

pub const WEATHER_KEY: [&str; 2] = ["origin", "time_hour"];
pub const WEATHER_DOUBLES: [&str; 8] = [
    "temp",
    "dewp",
    "humid",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
];

/// A file of the real input.
pub fn data(name: &str) -> String {
    let path = format!("{}/.local/data/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}; deploy/data.sh fetches it"))
}

/// The spec of a sample pipeline, for a table of another name.
pub fn sample(file: &str, table: &str) -> Value {
    let path = format!("{}/deploy/samples/{file}", env!("CARGO_MANIFEST_DIR"));
    let mut object: Value = serde_yaml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    object["spec"]["table"]["name"] = json!(table);
    object["spec"].take()
}

/// The table of the sample `planes.yaml` once it has these aircraft.
pub fn planes_cells(csv: &str) -> Cells {
    let renamed = csv.replacen("tailnum,year,", "tailnum,built,", 1);
    from_csv(&renamed, &["tailnum"], &[])
}

/// The header and the first rows of a CSV text.
pub fn head(csv: &str, rows: usize) -> String {
    csv.split_inclusive('\n').take(rows + 1).collect()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .arg("-c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut stdin, content).unwrap());
        let mut compressed = Vec::new();
        stdout.read_to_end(&mut compressed).unwrap();
        assert!(child.wait().unwrap().success());
        compressed
    })
}

async fn a_file_with_nulls_is_the_table_cell_by_cell(tenant: TestTenant) {
    tenant
        .pipeline("weather", sample("weather.yaml", "weather"))
        .await;
    let csv = data("weather.csv");
    let upload = tenant
        .upload("weather", "weather.csv", csv.as_bytes())
        .await;
    assert!(!upload.duplicate);
    let record = tenant.ended(upload.id).await;
    assert_eq!(record.state, FileState::Done, "{:?}", record.error);
    assert_eq!((record.accepted, record.rejected), (Some(26_115), Some(0)));
    assert_eq!(record.bytes, csv.len() as u64);

    let found = tenant.rows("weather", &WEATHER_KEY).await;
    assert_same(&found, &from_csv(&csv, &WEATHER_KEY, &WEATHER_DOUBLES));

    let again = tenant
        .upload("weather", "weather-again.csv", csv.as_bytes())
        .await;
    assert!(again.duplicate);
    assert_eq!(again.id, upload.id);

    let page: Value =
        tenant.get("/v1/tables/weather/rows?origin=EWR&time_hour.gte=2013-01-01T06:00:00Z&time_hour.lt=2013-01-01T08:00:00Z").await;
    assert_eq!(page["rows"].as_array().unwrap().len(), 2, "{page}");
    assert_eq!(page["rows"][0]["wind_gust"], Value::Null);
}

async fn a_compressed_file_with_bad_rows_is_ingested_and_they_are_quarantined(tenant: TestTenant) {
    tenant
        .pipeline("flights", sample("flights.yaml", "flights"))
        .await;
    let good = head(&data("flights.csv"), 5_000);
    let bad = "2013,13,x,517,515,2,830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01T10:00:00Z\n\
               2013,1,1,short\n";
    let file = gzip(format!("{good}{bad}").as_bytes());
    let upload = tenant.upload("flights", "flights.csv.gz", &file).await;
    let record = tenant.ended(upload.id).await;
    assert_eq!(record.state, FileState::Done, "{:?}", record.error);
    assert_eq!((record.accepted, record.rejected), (Some(5_000), Some(2)));

    let path = record.rejects.expect("there are rejects");
    let response = tenant
        .request("analyst", reqwest::Method::GET, &path)
        .await
        .send()
        .await
        .unwrap();
    let body = response.text().await.unwrap();
    let rejects: Vec<RejectedRow> = body
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rejects.len(), 2);
    assert_eq!(
        (rejects[0].line, rejects[0].column.as_deref()),
        (5_002, Some("day"))
    );
    assert_eq!(rejects[1].line, 5_003);
    assert_eq!(rejects[1].raw, "2013,1,1,short");

    let key = ["origin", "year", "month", "day", "carrier", "flight"];
    let found = tenant.rows("flights", &key).await;
    assert_same(&found, &from_csv(&good, &key, &[]));
}

/// The rows of a CSV text as NDJSON, whole numbers of the named columns as numbers and all else as strings.
pub fn ndjson(csv: &str, numbers: &[&str]) -> String {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header = reader.headers().unwrap().clone();
    reader
        .records()
        .map(|record| {
            let record = record.unwrap();
            let object: serde_json::Map<String, Value> = header
                .iter()
                .zip(record.iter())
                .map(|(name, field)| {
                    let value = match field.parse::<i64>() {
                        Ok(parsed) if numbers.contains(&name) => json!(parsed),
                        _ => json!(field),
                    };
                    (name.to_owned(), value)
                })
                .collect();
            format!("{}\n", Value::Object(object))
        })
        .collect()
}

/// The rows of planes.csv as NDJSON of the sample's fields.
pub fn planes_ndjson(csv: &str) -> String {
    ndjson(csv, &["year", "engines", "seats", "speed"])
}

async fn messages_are_rows_and_a_repeated_post_shows_once(tenant: TestTenant) {
    tenant
        .pipeline("planes", sample("planes.yaml", "planes"))
        .await;
    let csv = data("planes.csv");
    let ndjson = planes_ndjson(&csv);
    let lines: Vec<&str> = ndjson.split_inclusive('\n').collect();
    for (index, chunk) in lines.chunks(1_000).enumerate() {
        let key = format!("planes-{index}");
        tenant.post_messages("planes", &key, &chunk.concat()).await;
        tenant.post_messages("planes", &key, &chunk.concat()).await;
    }
    let expected = planes_cells(&csv);
    crate::harness::eventually("3,322 planes", crate::harness::QUICK, || async {
        let found = tenant.rows("planes", &["tailnum"]).await;
        if found.len() < expected.len() {
            return Err(format!("{} rows", found.len()));
        }
        assert_same(&found, &expected);
        Ok(())
    })
    .await;
}

async fn status_shows_the_real_figures(tenant: TestTenant) {
    tenant
        .pipeline("figures", sample("weather.yaml", "figures"))
        .await;
    let upload = tenant
        .upload(
            "figures",
            "weather.csv",
            head(&data("weather.csv"), 700).as_bytes(),
        )
        .await;
    tenant.ended(upload.id).await;
    crate::harness::eventually("figures in status", crate::harness::QUICK, || async {
        let pipeline = tenant
            .cluster
            .pipelines(&tenant.name)
            .get("figures")
            .await
            .unwrap();
        let status = pipeline.status.unwrap_or_default();
        let figures = (
            status.mode.as_deref(),
            status.rows,
            status.rejected,
            status.backlog,
            status.replicas,
        );
        if figures == (Some("Batch"), Some(700), Some(0), Some(0), Some(1)) {
            Ok(())
        } else {
            Err(format!("{figures:?}"))
        }
    })
    .await;
}
