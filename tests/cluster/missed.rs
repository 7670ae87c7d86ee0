//! Rows of a Cassandra that are acknowledged by two members while the third one hears nothing of them, and is never told:
//! when one of the two loses its volume, the other one alone has them.

use std::time::{Duration, Instant};

use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::policies::host_filter::AllowListHostFilter;
use scylla::statement::{Consistency, Statement};
use simbdp_api::names::tenant_objects;
use simbdp_operator::exec::{Command, Exec, Outcome, PodExec};

use crate::harness::{QUICK, TestTenant, eventually};

const ROWS: i32 = 20;
/// Longest that nodetool may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Loses its volume; takes the writes, and keeps them; hears nothing of them.
const MEMBERS: [usize; 3] = [0, 1, 2];
/// No read makes up for a row that a replica misses, and none is asked in another one's place.
const OPTIONS: &str = "read_repair = 'NONE' AND speculative_retry = 'NONE'";

fn pod(member: usize) -> String {
    format!("{}-{member}", tenant_objects::COREDMS)
}

/// Rows that the last member has missed.
pub struct Missed {
    table: String,
}

impl Missed {
    /// Writes them. Nobody keeps hints of them.
    pub async fn write(tenant: &TestTenant) -> Self {
        let since = Instant::now();
        let [_, keeps, misses] = MEMBERS;
        let missed = Self {
            table: format!("\"{}\".missed", tenant.name.keyspace()),
        };
        let session = alone(tenant, keeps).await;
        let table = &missed.table;
        for statement in [
            format!("DROP TABLE IF EXISTS {table}"),
            format!("CREATE TABLE {table} (k int PRIMARY KEY) WITH {OPTIONS}"),
        ] {
            run(&session, &statement, Consistency::LocalQuorum).await;
        }
        for member in MEMBERS {
            eventually("every member has the table", QUICK, || async {
                has(&alone(tenant, member).await, table).await.map(drop)
            })
            .await;
        }
        tokio::join!(
            nodetool(tenant, keeps, "disablehandoff"),
            nodetool(tenant, misses, "disablegossip")
        );
        sees(tenant, keeps, 2).await;
        for k in 0..ROWS {
            let insert = format!("INSERT INTO {table} (k) VALUES ({k})");
            run(&session, &insert, Consistency::LocalQuorum).await;
        }
        tokio::join!(
            nodetool(tenant, misses, "enablegossip"),
            nodetool(tenant, keeps, "enablehandoff")
        );
        sees(tenant, keeps, 3).await;
        let had = missed.had(tenant).await;
        assert_eq!(had, [ROWS, ROWS, 0], "rows that each member has");
        println!("one missed {ROWS} rows after {:?}", since.elapsed());
        missed
    }

    /// How many each member has by itself.
    async fn had(&self, tenant: &TestTenant) -> [i32; 3] {
        let mut had = [0; 3];
        for member in MEMBERS {
            let session = alone(tenant, member).await;
            had[member] = has(&session, &self.table).await.unwrap();
        }
        had
    }

    /// Whichever two are asked now, at least one of them has them: each has.
    pub async fn check(self, tenant: &TestTenant) {
        let had = self.had(tenant).await;
        assert_eq!(had, [ROWS; 3], "rows that each member has");
        let session = alone(tenant, MEMBERS[1]).await;
        let drop = format!("DROP TABLE {}", self.table);
        run(&session, &drop, Consistency::LocalQuorum).await;
    }
}

/// A session of the operator's superuser with one member, and with no other.
async fn alone(tenant: &TestTenant, member: usize) -> Session {
    let secret = |key| tenant.secret("coredms-superuser", key);
    let (user, password) = (secret("username").await, secret("password").await);
    eventually("a session with one member", QUICK, || async {
        let members = tenant.members().await;
        let found = members.iter().find(|(name, _)| *name == pod(member));
        let (_, address) = found.ok_or("it has no address")?;
        let endpoint = format!("{address}:9042");
        let only = AllowListHostFilter::new([&endpoint]).map_err(|e| e.to_string())?;
        let session = SessionBuilder::new()
            .known_node(&endpoint)
            .host_filter(std::sync::Arc::new(only))
            .user(&user, &password);
        session.build().await.map_err(|e| e.to_string())
    })
    .await
}

async fn run(session: &Session, cql: &str, consistency: Consistency) {
    let mut statement = Statement::new(cql);
    statement.set_consistency(consistency);
    session.query_unpaged(statement, ()).await.unwrap();
}

/// How many rows the member of a session has itself: asked for one replica's, it answers by its own.
async fn has(session: &Session, table: &str) -> Result<i32, String> {
    let mut select = Statement::new(format!("SELECT k FROM {table}"));
    select.set_consistency(Consistency::LocalOne);
    let rows = session
        .query_unpaged(select, ())
        .await
        .map_err(|e| e.to_string())?;
    let rows = rows.into_rows_result().map_err(|e| e.to_string())?;
    Ok(i32::try_from(rows.rows_num()).unwrap())
}

async fn nodetool(tenant: &TestTenant, member: usize, word: &str) -> String {
    let command = Command {
        namespace: tenant.name.namespace(),
        pod: pod(member),
        container: "cassandra".to_owned(),
        words: vec!["/opt/cassandra/bin/nodetool".to_owned(), word.to_owned()],
        limit: PATIENCE,
    };
    let exec = PodExec::new(tenant.cluster.client.clone());
    match exec.run(&command).await.unwrap() {
        Outcome::Succeeded { output } => output,
        other => panic!("nodetool {word} in {}: {other:?}", pod(member)),
    }
}

/// Waits until a member sees so many up, itself included.
async fn sees(tenant: &TestTenant, member: usize, up: usize) {
    eventually("members up", QUICK, || async {
        let status = nodetool(tenant, member, "status").await;
        let seen = status.lines().filter(|line| line.starts_with("UN "));
        match seen.count() {
            count if count == up => Ok(()),
            _ => Err(status),
        }
    })
    .await;
}
