//! Databases and brokers that somebody else runs: of this test's own, over TLS alone, with a login for the operator that may
//! do no more than what is documented, and with what others have in them.

use std::sync::Arc;

use futures::TryStreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, Service};
use kube::api::{Api, DeleteParams, PostParams};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, Credential, ServerAddress, Tls, TlsOptions};
use rustls::ClientConfig;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::value::Row;
use serde_json::{Value, json};
use simbdp_api::common::Engine;
use simbdp_coredms::Trust;
use simbdp_testkit::cassandra::{client_encryption, small_yaml};
use simbdp_testkit::certificates::Authority;
use tempfile::NamedTempFile;

use crate::database::Database;
use crate::elsewhere_brokers::BrokerElsewhere;
use crate::harness::{Cluster, QUICK, SLOW, eventually};

/// The operator's login.
pub const USER: &str = "provisioner";
pub const PASSWORD: &str = "made for others";

/// Members of a Cassandra.
const MEMBERS: u8 = 3;
/// What a MongoDB's members know each other by.
const KEYFILE: &str = "bWVtYmVycyBvZiBhIHNldCBvZiBzb21lYm9keSBlbHNl";

/// For a small machine, and without waiting for gossip.
const FAST: &str = "-XX:-UseG1GC -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
-Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.superuser_setup_delay_ms=0 \
-Dcassandra.ring_delay_ms=3000";

/// The operator's login with the rights that docs/operations.md names, and what somebody else has.
const RIGHTS: [&str; 9] = [
    "CREATE ROLE provisioner WITH PASSWORD = 'made for others' AND LOGIN = true",
    "GRANT ALL PERMISSIONS ON ALL KEYSPACES TO provisioner",
    "GRANT ALL PERMISSIONS ON ALL ROLES TO provisioner",
    "GRANT SELECT ON KEYSPACE system_auth TO provisioner",
    "CREATE ROLE somebody",
    "CREATE KEYSPACE theirs WITH replication = {'class': 'NetworkTopologyStrategy', 'datacenter1': 3}",
    "CREATE TABLE theirs.things (k int PRIMARY KEY, v text)",
    "INSERT INTO theirs.things (k, v) VALUES (1, 'theirs')",
    "GRANT SELECT ON KEYSPACE theirs TO somebody",
];

/// What is looked at to see whether anything of others has changed.
const CONTENT: [&str; 5] = [
    "SELECT * FROM system_schema.keyspaces",
    "SELECT * FROM system_auth.roles",
    "SELECT * FROM system_auth.role_permissions",
    "SELECT keyspace_name, table_name FROM system_schema.tables",
    "SELECT * FROM theirs.things",
];

/// A database of somebody else.
pub struct Elsewhere {
    pub engine: Engine,
    /// What the CoreDms, the Broker and their Secret are called.
    pub name: &'static str,
    /// The tenant that comes and goes.
    pub guest: &'static str,
    /// Whose certificates it has, in PEM.
    pub authority: String,
    /// What it is reached by.
    pub addresses: Vec<String>,
    /// As one who may do everything.
    pub admin: Database,
    /// A broker beside it, of the other kind for each engine.
    pub broker: BrokerElsewhere,
    cluster: Cluster,
    namespace: String,
    _trust: NamedTempFile,
}

impl Elsewhere {
    /// Starts it, in a namespace of its own.
    pub async fn start(engine: Engine) -> Self {
        let cluster = Cluster::connect().await;
        let namespace = format!("elsewhere-{engine:?}").to_lowercase();
        let authority = Authority::new(&namespace).unwrap();
        let trust = NamedTempFile::new().unwrap();
        let place = Place {
            cluster: &cluster,
            namespace: &namespace,
            authority: &authority,
            trust: &trust,
        };
        place.vacate().await;
        let spec = json!({"metadata": {"name": namespace}});
        create(Api::<Namespace>::all(cluster.client.clone()), spec).await;
        let (addresses, admin) = match engine {
            Engine::Cassandra => place.cassandra().await,
            Engine::MongoDB => place.mongodb().await,
        };
        let broker = match engine {
            Engine::Cassandra => place.rabbitmq().await,
            Engine::MongoDB => place.kafka().await,
        };
        let (name, guest) = match engine {
            Engine::Cassandra => ("theirs-cassandra", "guest-cassandra"),
            Engine::MongoDB => ("theirs-mongodb", "guest-mongodb"),
        };
        Self {
            engine,
            name,
            guest,
            authority: authority.pem(),
            addresses,
            admin,
            broker,
            namespace,
            cluster,
            _trust: trust,
        }
    }

    /// Everything that others have, and who they are.
    pub async fn content(&self) -> String {
        match &self.admin {
            Database::Cassandra(session) => {
                let mut content = String::new();
                for query in CONTENT {
                    let pager = session.query_iter(query, ()).await.unwrap();
                    let rows: Vec<Row> = pager.rows_stream().unwrap().try_collect().await.unwrap();
                    let mut rows: Vec<_> = rows.iter().map(|row| format!("{row:?}")).collect();
                    rows.sort();
                    content.push_str(&rows.join("\n"));
                }
                content
            }
            Database::MongoDB(client) => {
                let mut names = client.list_database_names().await.unwrap();
                names.sort();
                let of = async |database: &str, collection: &str| {
                    let collection = client.database(database).collection::<Document>(collection);
                    let found = collection
                        .find(doc! {})
                        .sort(doc! {"_id": 1})
                        .await
                        .unwrap();
                    found.try_collect::<Vec<_>>().await.unwrap()
                };
                let users = of("admin", "system.users").await;
                let roles = of("admin", "system.roles").await;
                let things = of("theirs", "things").await;
                format!("{names:?} {users:?} {roles:?} {things:?}")
            }
        }
    }

    /// Ends it.
    pub async fn stop(self) {
        let namespaces = Api::<Namespace>::all(self.cluster.client.clone());
        let parameters = DeleteParams::default();
        namespaces
            .delete(&self.namespace, &parameters)
            .await
            .unwrap();
    }
}

/// Where it is made.
pub struct Place<'a> {
    cluster: &'a Cluster,
    pub namespace: &'a str,
    pub authority: &'a Authority,
    /// For the driver that takes certificates from a file, which it reads whenever it connects.
    trust: &'a NamedTempFile,
}

async fn create<K>(api: Api<K>, object: Value) -> K
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let object = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap()
}

impl Place<'_> {
    /// Without what a run that was ended has left.
    async fn vacate(&self) {
        let namespaces = Api::<Namespace>::all(self.cluster.client.clone());
        // It is not there, as a rule.
        let _ = namespaces
            .delete(self.namespace, &DeleteParams::default())
            .await;
        eventually("the place is free", QUICK, || async {
            match namespaces.get_opt(self.namespace).await.unwrap() {
                Some(_) => Err("it is being deleted".to_owned()),
                None => Ok(()),
            }
        })
        .await;
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.cluster.client.clone(), self.namespace)
    }

    /// A Service, and the address that its pod will have for others whenever it starts.
    pub async fn service(&self, name: &str, ports: &[u16]) -> String {
        let ports = ports
            .iter()
            .map(|port| json!({"name": format!("p{port}"), "port": port}));
        let object = json!({
            "metadata": {"name": name},
            "spec": {"selector": {"server": name}, "ports": ports.collect::<Vec<_>>()},
        });
        let service = create(self.api::<Service>(), object).await;
        service.spec.unwrap().cluster_ip.unwrap()
    }

    /// A pod with the files in `/server`.
    pub async fn pod(&self, name: &str, files: Value, mut spec: Value) {
        let secret = json!({"metadata": {"name": name}, "stringData": files});
        create(self.api::<Secret>(), secret).await;
        spec["volumes"] = json!([
            {"name": "server", "secret": {"secretName": name, "defaultMode": 0o400}},
            {"name": "data", "emptyDir": {}},
        ]);
        spec["terminationGracePeriodSeconds"] = json!(0);
        let metadata = json!({"name": name, "labels": {"server": name}});
        create(
            self.api::<Pod>(),
            json!({"metadata": metadata, "spec": spec}),
        )
        .await;
    }

    /// Three members, which know each other and are known by the addresses of their Services.
    async fn cassandra(&self) -> (Vec<String>, Database) {
        let names: Vec<_> = (0..MEMBERS)
            .map(|member| format!("cassandra-{member}"))
            .collect();
        let mut addresses = Vec::new();
        for name in &names {
            addresses.push(self.service(name, &[7000, 9042]).await);
        }
        for (member, (name, address)) in (0..MEMBERS).zip(names.iter().zip(&addresses)) {
            let pem = self
                .authority
                .server(std::slice::from_ref(address))
                .unwrap();
            let yaml = cassandra_yaml(member, address, &addresses[0], &pem);
            let container = json!({
                "name": "cassandra", "image": "cassandra:5.0",
                "command": ["/opt/cassandra/bin/cassandra", "-f", "-Dcassandra.config=file:///server/cassandra.yaml"],
                "env": [
                    {"name": "MAX_HEAP_SIZE", "value": "256M"},
                    {"name": "JVM_EXTRA_OPTS", "value": FAST},
                    {"name": "MALLOC_ARENA_MAX", "value": "2"},
                ],
                "volumeMounts": [
                    {"name": "server", "mountPath": "/server"},
                    {"name": "data", "mountPath": "/var/lib/cassandra"},
                ],
            });
            let spec = json!({
                "securityContext": {"runAsUser": 999, "runAsGroup": 999, "fsGroup": 999},
                "containers": [container],
            });
            self.pod(name, json!({"cassandra.yaml": yaml}), spec).await;
        }
        let endpoints: Vec<_> = addresses
            .iter()
            .map(|address| format!("{address}:9042"))
            .collect();
        let session = eventually("the first login", SLOW, || self.session(&endpoints)).await;
        for statement in RIGHTS {
            session.query_unpaged(statement, ()).await.unwrap();
        }
        (endpoints, Database::Cassandra(Box::new(session)))
    }

    async fn session(&self, endpoints: &[String]) -> Result<Session, String> {
        let roots = Trust::Bundle(self.authority.pem().into()).roots().unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots);
        let session = SessionBuilder::new()
            .known_nodes(endpoints)
            .user("cassandra", "cassandra")
            .tls_context(Some(Arc::new(client.with_no_client_auth())))
            .build()
            .await
            .map_err(|error| error.to_string())?;
        match session.get_cluster_state().get_nodes_info().len() {
            3 => Ok(session),
            members => Err(format!("{members} members")),
        }
    }

    /// A replica set of one, which is known by its Service's name.
    async fn mongodb(&self) -> (Vec<String>, Database) {
        let name = format!("mongodb.{}.svc", self.namespace);
        let address = self.service("mongodb", &[27_017]).await;
        let names = [name.clone(), address.clone()];
        let files = json!({
            "certificate.pem": self.authority.server(&names).unwrap(),
            "authority.pem": self.authority.pem(),
            "keyfile": KEYFILE,
        });
        let container = json!({
            "name": "mongodb", "image": "mongo:6.0",
            "command": [
                "mongod", "--dbpath", "/data/db", "--bind_ip_all", "--replSet", "elsewhere",
                "--keyFile", "/server/keyfile", "--tlsMode", "requireTLS",
                "--tlsCertificateKeyFile", "/server/certificate.pem", "--tlsCAFile", "/server/authority.pem",
                "--tlsAllowConnectionsWithoutCertificates", "--wiredTigerCacheSizeGB", "0.25",
            ],
            "volumeMounts": [
                {"name": "server", "mountPath": "/server"},
                {"name": "data", "mountPath": "/data/db"},
            ],
        });
        let spec = json!({
            // The keyfile is to be readable by its owner alone, which is root.
            "securityContext": {"runAsUser": 0},
            // It knows itself by that name without the way over the Service.
            "hostAliases": [{"ip": "127.0.0.1", "hostnames": [name]}],
            "containers": [container],
        });
        self.pod("mongodb", files, spec).await;

        let client = self.client(&address);
        let admin = client.database("admin");
        let endpoint = format!("{name}:27017");
        let set = doc! {"_id": "elsewhere", "members": [{"_id": 0, "host": &endpoint}]};
        eventually("a replica set", QUICK, || async {
            let initiate = admin
                .run_command(doc! {"replSetInitiate": set.clone()})
                .await;
            initiate.map_err(|error| error.to_string())
        })
        .await;
        let roles = [
            "userAdminAnyDatabase",
            "dbAdminAnyDatabase",
            "clusterManager",
            "clusterMonitor",
        ];
        let user = doc! {"createUser": USER, "pwd": PASSWORD, "roles": roles.to_vec()};
        eventually("the first user", QUICK, || async {
            let created = admin.run_command(user.clone()).await;
            created.map_err(|error| error.to_string())
        })
        .await;
        let theirs = client.database("theirs");
        let things = theirs.collection::<Document>("things");
        things
            .insert_one(doc! {"_id": 1, "v": "theirs"})
            .await
            .unwrap();
        let somebody = doc! {"createUser": "somebody", "pwd": "secret", "roles": ["read"]};
        theirs.run_command(somebody).await.unwrap();
        (vec![endpoint], Database::MongoDB(client))
    }

    /// A client of the only member as the members' own user, who may do everything.
    fn client(&self, address: &str) -> Client {
        let trust = self.trust.path().to_owned();
        std::fs::write(&trust, self.authority.pem()).unwrap();
        let tls = TlsOptions::builder().ca_file_path(trust).build();
        let credential = Credential::builder()
            .username("__system".to_owned())
            .password(KEYFILE.to_owned())
            .source("local".to_owned())
            .build();
        let options = ClientOptions::builder()
            .hosts(vec![ServerAddress::parse(address).unwrap()])
            .direct_connection(true)
            .credential(credential)
            .tls(Tls::Enabled(tls))
            .build();
        Client::with_options(options).unwrap()
    }
}

fn cassandra_yaml(member: u8, address: &str, seed: &str, pem: &str) -> String {
    let token = i128::from(i64::MIN) + (1_i128 << 64) / i128::from(MEMBERS) * i128::from(member);
    let encryption = client_encryption(pem);
    format!(
        "cluster_name: elsewhere
endpoint_snitch: SimpleSnitch
seed_provider:
- class_name: org.apache.cassandra.locator.SimpleSeedProvider
  parameters:
  - seeds: {seed}
num_tokens: 1
initial_token: {token}
auto_bootstrap: false
broadcast_address: {address}
rpc_address: 0.0.0.0
broadcast_rpc_address: {address}
{}{encryption}",
        small_yaml("/var/lib/cassandra")
    )
}
