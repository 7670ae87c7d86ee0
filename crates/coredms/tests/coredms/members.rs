//! Members as the database sees them.

use crate::server::{admin, server};

#[tokio::test]
async fn every_node_is_a_member() {
    let members = admin().await.members().await.unwrap();
    let addresses: Vec<_> = members
        .iter()
        .map(|m| format!("{}:9042", m.address))
        .collect();
    assert_eq!(addresses, server().await.endpoints());
    assert!(members.iter().all(|member| member.up));
}
