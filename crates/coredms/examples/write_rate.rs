//! Measures.
#![allow(clippy::unwrap_used, missing_docs)]
use simbdp_coredms::admin::*;
use simbdp_coredms::cassandra::*;
use simbdp_coredms::*;
use simbdp_record::{Row, Rows, Value};
use simbdp_testkit::cassandra::Cassandra;
use std::time::{Duration, Instant};

fn rss() -> u64 {
    let s = std::fs::read_to_string("/proc/self/status").unwrap();
    let l = s.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    l.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::main]
async fn main() {
    let n: i64 = std::env::args()
        .nth(1)
        .unwrap_or("200000".into())
        .parse()
        .unwrap();
    let cluster = Cassandra::start(3).await.unwrap();
    let setup = ClusterSetup {
        superuser: "s".into(),
        password: "s".into(),
        datacenter: "dc1".into(),
        replication_factor: 3,
    };
    let c = CassandraConnector::new();
    let admin = loop {
        match c.bootstrap(&cluster.endpoints(), &setup).await {
            Ok(a) => break a,
            Err(e) => {
                eprintln!("{e}");
                tokio::time::sleep(Duration::from_millis(500)).await
            }
        }
    };
    let role = |n: &str| RoleLogin {
        name: n.into(),
        password: n.into(),
    };
    let t = Tenancy {
        keyspace: "t_b".into(),
        platform_keyspace: "p_b".into(),
        tenant_role: role("t_b"),
        platform_role: role("p_b"),
        datacenter: "dc1".into(),
        replication_factor: 3,
    };
    while let Err(e) = admin.ensure_tenancy(&t).await {
        eprintln!("{e}");
        tokio::time::sleep(Duration::from_millis(500)).await
    }
    for round in 0..2 {
        for (bytes, rows, inflight) in [
            (5120, 128, 32),
            (5120, 128, 16),
            (1, 1, 256),
            (10_240, 128, 16),
            (10_240, 128, 32),
            (20_480, 128, 16),
            (40_000, 256, 8),
        ] {
            let name = format!("t{bytes}_{inflight}_{round}");
            let spec = serde_json::from_value(serde_json::json!({"name": name, "columns": [
            {"name":"id","type":"bigint"},{"name":"name","type":"text"},{"name":"n","type":"int"},{"name":"u","type":"uuid"},{"name":"at","type":"timestamp"}],
            "primaryKey": {"partition": ["id"]}})).unwrap();
            while let Err(e) = admin.ensure_table("t_b", &spec).await {
                eprintln!("{e}");
            }
            let store = CassandraStore::connect(
                Connection {
                    endpoints: cluster.endpoints(),
                    username: "p_b".into(),
                    password: "p_b".into(),
                },
                StoreOptions {
                    datacenter: Some("dc1".into()),
                    batch_bytes: bytes,
                    batch_rows: rows,
                    in_flight: inflight,
                    ..StoreOptions::default()
                },
            );
            let table = store.table("t_b", &spec).await.unwrap();
            let start = Instant::now();
            let mut batches = 0;
            let mut id = 0;
            let mut pending = Vec::new();
            let m = if rows == 1 { n / 4 } else { n };
            while id < m {
                let rows: Rows = (id..(id + 2048).min(m))
                    .map(|i| Row {
                        values: vec![
                            Some(Value::Bigint(i)),
                            Some(Value::Text(format!("{i:025}"))),
                            Some(Value::Int(i as i32)),
                            Some(Value::Uuid(uuid::Uuid::from_u128(i as u128))),
                            Some(Value::Timestamp(i)),
                        ],
                        version: i,
                    })
                    .collect();
                id += 2048;
                let table = table.clone();
                pending.push(tokio::spawn(async move {
                    loop {
                        match table.write(&rows).await {
                            Ok(r) => return r.batches,
                            Err(e) => eprintln!("{e}"),
                        }
                    }
                }));
                if pending.len() >= 2 {
                    batches += pending.remove(0).await.unwrap();
                }
            }
            for p in pending {
                batches += p.await.unwrap();
            }
            let s = start.elapsed().as_secs_f64();
            println!(
                "bytes {bytes} in_flight {inflight}: {m} rows in {s:.1} s = {:.0}/s, {batches} batches, {:.1} rows each, peak rss {} MiB",
                m as f64 / s,
                m as f64 / batches as f64,
                rss() / 1024
            );
        }
    }
}
