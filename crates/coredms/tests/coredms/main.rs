//! Both engines as a coredms, each against a real server, one for all of these tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

/// Runs each case on each engine; the name of a test shows both.
macro_rules! on_each_engine {
    ($($case:ident)*) => {
        mod cassandra {
            $(#[tokio::test]
            async fn $case() {
                super::$case(crate::server::cassandra().await).await;
            })*
        }
        mod mongodb {
            $(#[tokio::test]
            async fn $case() {
                super::$case(crate::server::mongodb().await).await;
            })*
        }
    };
}

mod bootstrap_cassandra;
mod bootstrap_mongodb;
mod cluster;
mod documents;
mod ledger;
mod logins;
mod members_mongodb;
mod on_cassandra;
mod on_mongodb;
mod reads;
mod rows;
mod server;
mod tables;
mod tenancy;
mod tls;
