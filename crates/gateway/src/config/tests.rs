use serde_json::json;
use simbdp_api::tenant::Role;
use simbdp_api::wire::config::UserRecord;

use super::*;
use crate::auth::tests::cheap_hash;

struct Mounted {
    root: tempfile::TempDir,
}

impl Mounted {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["pipelines", "users", "internal"] {
            std::fs::create_dir(root.path().join(directory)).unwrap();
        }
        Self { root }
    }

    fn write(&self, path: &str, content: &str) {
        std::fs::write(self.root.path().join(path), content).unwrap();
    }

    fn store(&self) -> ConfigStore {
        let at = |name: &str| self.root.path().join(name);
        let paths = Paths {
            pipelines: at("pipelines"),
            users: at("users"),
            internal: at("internal"),
        };
        ConfigStore::open(TenantName::new("x").unwrap(), paths)
    }
}

fn pipeline(tenant: &str, name: &str, generation: i64) -> String {
    json!({
        "tenant": tenant,
        "pipeline": name,
        "generation": generation,
        "mode": {"type": "stream", "maxMessageSize": 1000},
        "keyspace": "t_x",
        "table": {"name": "planes", "columns": [{"name": "tail", "type": "text"}]},
    })
    .to_string()
}

#[test]
fn reads_what_is_mounted() {
    let mounted = Mounted::new();
    let text = pipeline("x", "planes", 3);
    mounted.write("pipelines/planes.json", &text);
    mounted.write("pipelines/README", "not a pipeline");
    mounted.write("internal/token", "secret\n");
    let users = Users {
        users: vec![UserRecord {
            name: "ann".into(),
            role: Role::Writer,
            password_hash: cheap_hash("p"),
            token_sha256: "00".repeat(32),
        }],
    };
    mounted.write("users/users.json", &serde_json::to_string(&users).unwrap());
    let config = mounted.store().current();
    assert_eq!(config.pipelines["planes"].config.generation, 3);
    assert_eq!(config.tables["planes"].spec.columns.len(), 1);
    assert_eq!(config.users.as_ref().unwrap().len(), 1);
    assert_eq!(config.internal_token.as_deref(), Some("secret"));
}

#[test]
fn what_is_missing_is_missing() {
    let config = Mounted::new().store().current();
    assert!(
        config.pipelines.is_empty() && config.users.is_none() && config.internal_token.is_none()
    );
}

#[test]
fn what_cannot_be_used_keeps_its_last_good_state_and_harms_no_other() {
    let mounted = Mounted::new();
    mounted.write("pipelines/planes.json", &pipeline("x", "planes", 1));
    mounted.write("pipelines/other.json", &pipeline("x", "other", 1));
    mounted.write("pipelines/alien.json", &pipeline("y", "alien", 1));
    mounted.write("pipelines/named.json", &pipeline("x", "differently", 1));
    let store = mounted.store();
    assert_eq!(
        store.current().pipelines.keys().collect::<Vec<_>>(),
        ["other", "planes"]
    );
    mounted.write("pipelines/planes.json", "{");
    mounted.write("pipelines/other.json", &pipeline("x", "other", 2));
    store.reload();
    let config = store.current();
    assert_eq!(config.pipelines["planes"].config.generation, 1);
    assert_eq!(config.pipelines["other"].config.generation, 2);
    std::fs::remove_file(mounted.root.path().join("pipelines/other.json")).unwrap();
    store.reload();
    assert!(!store.current().pipelines.contains_key("other"));
}

#[tokio::test]
async fn a_swapped_link_is_noticed() {
    let mounted = Mounted::new();
    let directory = mounted.root.path().join("pipelines");
    let link = |generation: i64| {
        let version = directory.join(format!("..{generation}"));
        std::fs::create_dir(&version).unwrap();
        std::fs::write(
            version.join("planes.json"),
            pipeline("x", "planes", generation),
        )
        .unwrap();
        let next = directory.join("..next");
        std::os::unix::fs::symlink(&version, &next).unwrap();
        std::fs::rename(next, directory.join("..data")).unwrap();
    };
    link(1);
    std::os::unix::fs::symlink("..data/planes.json", directory.join("planes.json")).unwrap();
    let store = Arc::new(mounted.store());
    let stop = CancellationToken::new();
    let watching = tokio::spawn(Arc::clone(&store).watch(stop.clone()));
    link(2);
    let seen = async {
        while store.current().pipelines["planes"].config.generation != 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), seen)
        .await
        .unwrap();
    stop.cancel();
    watching.await.unwrap();
}
