//! Databases that are reached over TLS: what a login's trust lets in, and what is said of a connection that cannot be.

use futures::future::join_all;
use serde_json::json;
use simbdp_api::common::Engine;
use simbdp_coredms::admin::{AdminError, Tenancy};
use simbdp_coredms::store::RowQuery;
use simbdp_coredms::{AdminConnector, Connection, Connectors, Trust};
use simbdp_record::{Row, Rows, Value};
use simbdp_testkit::cassandra::Cassandra;
use simbdp_testkit::certificates::Authority;
use simbdp_testkit::mongodb::MongoDb;

use crate::on_cassandra::replication;
use crate::on_mongodb::setup;
use crate::server::{self, PASSWORD, SUPERUSER, all_up, converge, database, tenancy_of};
use crate::tables::spec;

/// The whole of a connection that fails, as people are told.
async fn failure(connection: &Connection) -> AdminError {
    match Connectors::new().connect(connection).await {
        Ok(_) => panic!("let in"),
        Err(error) => {
            assert!(!error.to_string().contains(&connection.password));
            error
        }
    }
}

async fn fault(connection: &Connection) -> String {
    match failure(connection).await {
        AdminError::Tls(fault) => fault,
        other => panic!("{other:?}"),
    }
}

fn trusting(authority: &Authority, login: &Connection) -> Connection {
    Connection {
        tls: Some(Trust::Bundle(authority.pem().into())),
        ..login.clone()
    }
}

/// A tenant is made, and a row written and read as the platform's role.
async fn serves(login: &Connection, tenancy: &Tenancy) {
    let admin = converge(|| async { Connectors::new().connect(login).await }).await;
    all_up(&*admin).await;
    converge(|| admin.ensure_tenancy(tenancy)).await;
    let spec = spec(json!({
        "name": "t",
        "columns": [{"name": "k", "type": "int"}],
        "primaryKey": {"partition": ["k"]},
    }));
    converge(|| admin.ensure_table(&tenancy.keyspace, &spec)).await;

    let store = database(Connection {
        username: tenancy.platform_role.name.clone(),
        password: tenancy.platform_role.password.clone(),
        ..login.clone()
    })
    .store();
    let table = store.table(&tenancy.keyspace, &spec).await.unwrap();
    let key = Value::Int(1);
    let row = Row {
        values: vec![Some(key.clone())],
        version: 1,
    };
    table.write(&Rows::from_iter([row])).await.unwrap();
    let query = RowQuery {
        partition: vec![("k".to_owned(), key)],
        limit: 10,
        ..RowQuery::default()
    };
    assert_eq!(table.read(&query).await.unwrap().rows.len(), 1);
}

/// What is the same of each engine: `login` is of a server that demands TLS, with a certificate of `authority` for its
/// address, and `bare` one without TLS.
async fn told_apart(authority: &Authority, login: &Connection, bare: &Connection) {
    let fits = trusting(authority, login);
    let another = Authority::new("another authority").unwrap();
    let public = Connection {
        tls: Some(Trust::Public),
        ..login.clone()
    };
    let untrusted = "its certificate is of an authority that is not trusted";
    let told = [
        (trusting(&another, login), untrusted),
        (public, untrusted),
        (login.clone(), "it speaks TLS, and this connection does not"),
        (trusting(authority, bare), "it does not speak TLS"),
    ];
    let told = join_all(told.iter().map(|(connection, expected)| async move {
        let said = fault(connection).await;
        assert_eq!(said, format!("{}: {expected}", connection.endpoints[0]));
    }));
    // What has nothing to do with TLS is not laid at its door.
    let wrong = Connection {
        password: "wrong".to_owned(),
        ..fits.clone()
    };
    let nobody = Connection {
        endpoints: vec!["127.0.0.1:1".to_owned()],
        ..fits
    };
    let (_, wrong, nobody) = tokio::join!(told, failure(&wrong), failure(&nobody));
    assert!(
        matches!(wrong, AdminError::LoginRefused { .. }),
        "{wrong:?}"
    );
    assert!(matches!(nobody, AdminError::Unavailable(_)), "{nobody:?}");
}

#[tokio::test]
async fn a_cassandra_over_tls() {
    let authority = Authority::new("authority of a Cassandra").unwrap();
    let node = Cassandra::start_with_tls(1, &authority).await.unwrap();
    let login = Connection {
        engine: Engine::Cassandra,
        endpoints: node.endpoints(),
        username: "cassandra".to_owned(),
        password: "cassandra".to_owned(),
        tls: None,
    };
    let tenancy = tenancy_of("over_tls", Some(replication(1)));
    serves(&trusting(&authority, &login), &tenancy).await;

    let bare = server::cassandra().await;
    told_apart(
        &authority,
        &login,
        &server::connection(bare, SUPERUSER, PASSWORD),
    )
    .await;
}

#[tokio::test]
async fn a_mongodb_over_tls() {
    // The driver takes what the program has installed at its start. It fails where another test has done so.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = Authority::new("authority of a MongoDB").unwrap();
    let mut member = MongoDb::start(1).await.unwrap();
    let endpoints = member.endpoints();
    let first = setup(&member, SUPERUSER, PASSWORD);
    converge(|| async { Connectors::new().bootstrap(&endpoints, &first).await }).await;
    let login = Connection {
        engine: Engine::MongoDB,
        endpoints: endpoints.clone(),
        username: SUPERUSER.to_owned(),
        password: PASSWORD.to_owned(),
        tls: None,
    };
    let (address, _) = endpoints[0].split_once(':').unwrap();
    member.kill(0).unwrap();
    member
        .run_with_tls(0, &authority, &[address.to_owned()])
        .await
        .unwrap();
    let tenancy = tenancy_of("over_tls", None);
    serves(&trusting(&authority, &login), &tenancy).await;

    let bare = server::mongodb().await;
    told_apart(
        &authority,
        &login,
        &server::connection(bare, SUPERUSER, PASSWORD),
    )
    .await;

    member.kill(0).unwrap();
    member
        .run_with_tls(0, &authority, &["db.example".to_owned()])
        .await
        .unwrap();
    let said = fault(&trusting(&authority, &login)).await;
    assert!(
        said.ends_with(&format!("its certificate is not for {address}")),
        "{said}"
    );
}
