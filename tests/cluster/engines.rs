//! The same case for each engine, under a name that says which.

use serde_json::{Value, json};
use simbdp_api::common::Engine;

/// What a Tenant says of its database. It asks for little of the processor, so that several fit on a small node.
pub fn coredms(engine: Engine) -> Value {
    let mut coredms = json!({
        "engine": engine, "profile": "Development", "storage": {"size": "1Gi"},
        "resources": {"requests": {"cpu": "20m"}},
    });
    if engine == Engine::MongoDB {
        coredms["version"] = json!("6.0");
    }
    coredms
}

/// Makes a test of each case for each engine, with that engine's shared tenant.
macro_rules! for_each_engine {
    ($($case:ident),* $(,)?) => {
        mod cassandra {
            $(#[tokio::test]
            async fn $case() {
                let engine = simbdp_api::common::Engine::Cassandra;
                super::$case(crate::harness::TestTenant::of(engine).await).await;
            })*
        }
        mod mongodb {
            $(#[tokio::test]
            async fn $case() {
                let engine = simbdp_api::common::Engine::MongoDB;
                super::$case(crate::harness::TestTenant::of(engine).await).await;
            })*
        }
    };
}
