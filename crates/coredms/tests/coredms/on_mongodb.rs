//! MongoDB as the server under test.

use futures::TryStreamExt;
use futures::future::BoxFuture;
use mongodb::Client;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{AuthMechanism, ClientOptions, Credential, ServerAddress};
use simbdp_api::common::Engine;
use simbdp_coredms::admin::{
    ClusterSetup, EngineSetup, ReplicaSet, Replication, RoleLogin, Tenancy,
};
use simbdp_record::Value;
use simbdp_testkit::mongodb::{ELECTION_TIMEOUT, HEARTBEAT_INTERVAL, MongoDb, REPLICA_SET};

use crate::server::Server;

const UNAUTHORIZED: i32 = 13;

pub struct OnMongoDb(MongoDb);

impl OnMongoDb {
    pub async fn start(members: u8) -> Self {
        Self(MongoDb::start(members).await.unwrap())
    }

    pub fn system(&self) -> Client {
        system(&self.0, 0)
    }
}

fn client(address: &str, username: &str, password: &str, source: &str) -> Client {
    let mut options = ClientOptions::default();
    options.hosts = vec![ServerAddress::parse(address).unwrap()];
    options.direct_connection = Some(true);
    options.credential = Some(
        Credential::builder()
            .username(username.to_owned())
            .password(password.to_owned())
            .source(source.to_owned())
            .mechanism(AuthMechanism::ScramSha256)
            .build(),
    );
    Client::with_options(options).unwrap()
}

/// A client of one member as the members' own user, who may do everything.
pub fn system(servers: &MongoDb, member: usize) -> Client {
    let address = &servers.endpoints()[member];
    client(address, "__system", servers.keyfile(), "local")
}

/// A client of the only member.
pub fn login(on: &dyn Server, role: &RoleLogin) -> Client {
    client(&on.endpoints()[0], &role.name, &role.password, "admin")
}

pub fn setup(servers: &MongoDb, superuser: &str, password: &str) -> ClusterSetup {
    ClusterSetup {
        superuser: superuser.to_owned(),
        password: password.to_owned(),
        engine: EngineSetup::MongoDB(ReplicaSet {
            name: REPLICA_SET.to_owned(),
            members: servers.endpoints(),
            keyfile: servers.keyfile().to_owned(),
            election_timeout: ELECTION_TIMEOUT,
            heartbeat_interval: HEARTBEAT_INTERVAL,
        }),
    }
}

/// `database {command}`.
async fn execute(client: &Client, statement: &str) -> Result<Document, Error> {
    let (database, command) = statement.split_once(' ').unwrap();
    // The first field is the command's name: their order stays.
    let command: Document = serde_json::from_str(command).unwrap();
    client.database(database).run_command(command).await
}

fn quoted(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

impl Server for OnMongoDb {
    fn engine(&self) -> Engine {
        Engine::MongoDB
    }

    fn endpoints(&self) -> Vec<String> {
        self.0.endpoints()
    }

    fn setup(&self, superuser: &str, password: &str) -> ClusterSetup {
        setup(&self.0, superuser, password)
    }

    fn replication(&self) -> Option<Replication> {
        None
    }

    fn decimals(&self) -> Vec<&'static str> {
        vec![
            "0",
            "-1234567890123456789012345.678901234",
            "1E+30",
            "9E+6111",
            "-0.001",
        ]
    }

    fn emptied(&self, collection: Value) -> Option<Value> {
        Some(collection)
    }

    fn most_batches(&self) -> u64 {
        20
    }

    fn run<'a>(&'a self, statement: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            execute(&self.system(), statement).await.unwrap();
        })
    }

    fn allowed<'a>(&'a self, role: &'a RoleLogin, statement: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            match execute(&login(self, role), statement).await {
                Ok(_) => true,
                Err(error) => match &*error.kind {
                    ErrorKind::Command(command) if command.code == UNAUTHORIZED => false,
                    _ => panic!("{statement}: {error}"),
                },
            }
        })
    }

    fn tenants_rights(&self, a: &str, b: &str) -> (Vec<String>, Vec<String>) {
        let may = vec![
            format!(r#"t_{a} {{"insert": "x", "documents": [{{"_id": 1}}]}}"#),
            format!(r#"t_{a} {{"find": "x"}}"#),
        ];
        let mut may_not = vec![
            format!(r#"t_{b} {{"find": "x"}}"#),
            format!(r#"t_{b} {{"insert": "x", "documents": [{{"_id": 1}}]}}"#),
            format!(r#"p_{a} {{"find": "files"}}"#),
            format!(r#"p_{a} {{"insert": "totals", "documents": [{{"_id": 1}}]}}"#),
            format!(r#"p_{b} {{"find": "files"}}"#),
            format!(r#"t_{a} {{"collMod": "x", "validationLevel": "off"}}"#),
            format!(r#"t_{b} {{"dropDatabase": 1}}"#),
            format!(
                r#"t_{a} {{"insert": "x", "documents": [{{"_id": 2}}], "bypassDocumentValidation": true}}"#
            ),
            format!(
                r#"admin {{"grantRolesToUser": "t_{a}", "roles": [{{"role": "read", "db": "t_{b}"}}]}}"#
            ),
        ];
        may_not.extend(quoted(&[
            r#"admin {"find": "system.users"}"#,
            r#"mine {"create": "x"}"#,
            r#"admin {"createUser": "mine", "pwd": "mine", "roles": []}"#,
            r#"admin {"replSetGetStatus": 1}"#,
        ]));
        (may, may_not)
    }

    fn platforms_rights(&self, a: &str, b: &str) -> (Vec<String>, Vec<String>) {
        let may = vec![
            format!(r#"t_{a} {{"find": "x"}}"#),
            format!(r#"p_{a} {{"find": "files"}}"#),
        ];
        let may_not = vec![
            format!(r#"t_{b} {{"find": "x"}}"#),
            format!(r#"p_{b} {{"find": "files"}}"#),
            format!(r#"p_{a} {{"dropDatabase": 1}}"#),
        ];
        (may, may_not)
    }

    fn make_x<'a>(&'a self, keyspace: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let statement = format!(r#"{keyspace} {{"insert": "x", "documents": [{{"_id": 7}}]}}"#);
            self.run(&statement).await;
        })
    }

    fn drift(&self, tenancy: &Tenancy) -> Vec<String> {
        let (role, platform) = (&tenancy.tenant_role.name, &tenancy.platform_keyspace);
        vec![format!(
            r#"admin {{"updateUser": "{role}", "roles": [{{"role": "read", "db": "{platform}"}}]}}"#
        )]
    }

    fn rights<'a>(&'a self, role: &'a str) -> BoxFuture<'a, String> {
        Box::pin(async move {
            let command = doc! {"usersInfo": {"user": role, "db": "admin"}};
            let answer = self.system().database("admin").run_command(command).await;
            let answer = answer.unwrap();
            let user = answer.get_array("users").unwrap().first().cloned();
            let roles = user.as_ref().and_then(Bson::as_document);
            format!("{:?}", roles.and_then(|user| user.get_array("roles").ok()))
        })
    }

    fn stored_password<'a>(&'a self, role: &'a str) -> BoxFuture<'a, String> {
        Box::pin(async move {
            let command =
                doc! {"usersInfo": {"user": role, "db": "admin"}, "showCredentials": true};
            let answer = self.system().database("admin").run_command(command).await;
            format!("{:?}", answer.unwrap().get_array("users").unwrap())
        })
    }

    fn keyspace<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Option<String>> {
        Box::pin(async move {
            let names = self.system().list_database_names().await.unwrap();
            names.into_iter().find(|database| database == name)
        })
    }

    fn table<'a>(&'a self, keyspace: &'a str, table: &'a str) -> BoxFuture<'a, String> {
        Box::pin(async move {
            let database = self.system().database(keyspace);
            let command = doc! {"listCollections": 1, "filter": {"name": table}};
            let answer = database.run_command(command).await.unwrap();
            let collection = answer.get_document("cursor").unwrap().clone();
            let indexes = database
                .collection::<Document>(table)
                .list_index_names()
                .await;
            format!("{collection:?} {:?}", indexes.unwrap_or_default())
        })
    }

    fn count<'a>(&'a self, keyspace: &'a str, table: &'a str) -> BoxFuture<'a, u64> {
        Box::pin(async move {
            let database = self.system().database(keyspace);
            let collection = database.collection::<Document>(table);
            collection.count_documents(doc! {}).await.unwrap()
        })
    }

    fn seconds_left<'a>(&'a self, keyspace: &'a str, table: &'a str, k: i32) -> BoxFuture<'a, i64> {
        Box::pin(async move {
            let rows = documents(self, keyspace, table, doc! {"_id": k}).await;
            let end = rows[0].get_datetime("_e").unwrap();
            (end.timestamp_millis() - DateTime::now().timestamp_millis()) / 1_000
        })
    }

    fn check_log(&self) {}
}

/// Documents as they are stored.
pub async fn documents(
    on: &OnMongoDb,
    keyspace: &str,
    table: &str,
    filter: Document,
) -> Vec<Document> {
    let collection = on.system().database(keyspace).collection::<Document>(table);
    let found = collection.find(filter).await.unwrap();
    found.try_collect().await.unwrap()
}
