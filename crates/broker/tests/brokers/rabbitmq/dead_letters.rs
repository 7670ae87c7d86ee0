//! Who reads dead letters of RabbitMQ meanwhile.

use crate::dead_letters::{bury, expected, ids, read};
use crate::support::{Kind, Tenant, server, soon};

#[tokio::test]
async fn what_one_reads_another_does_not_see() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    bury(&tenant, 0..3).await;
    let mut reader = tenant.open().await;
    assert_eq!(read(&mut *reader).await.len(), 3);
    assert!(ids(&tenant).await.is_empty());
    soon(reader.close()).await.unwrap();
    assert_eq!(ids(&tenant).await, expected(0..3));
}
