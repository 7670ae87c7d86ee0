//! Secrets [pure]: bindings by the Service Binding specification
//! (<https://servicebinding.io/spec/core/1.1.0/#well-known-secret-entries>), tokens, users.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use simbdp_api::broker::BrokerType;
use simbdp_api::names::tenant_objects as objects;
use simbdp_api::wire::config::Users;
use simbdp_broker::source;
use simbdp_coredms::binding::binding_type;

use super::meta::{Owner, Platform};
use crate::coredms::place::DatabasePlace;
use crate::outside::tls_entries;
use crate::tenant::credentials::{PASSWORD, TOKEN, user_secret};
use crate::tenant::validate::ValidatedTenant;

/// Component of the Secrets of users: those of users that left are found by it.
pub const USER_COMPONENT: &str = "user";

/// A Secret with texts that are generated once and kept, and texts that follow the spec.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Fresh texts, for keys that are missing.
    pub once: Secret,
    /// What it always says besides; [`None`] where there is nothing.
    pub always: Option<Secret>,
}

/// Every Secret that is generated. `fresh` gives a random text at each call.
pub fn generated(
    owner: &Owner,
    valid: &ValidatedTenant,
    place: &DatabasePlace,
    platform: &Platform,
    mut fresh: impl FnMut() -> String,
) -> Vec<Generated> {
    let tenant = owner.name();
    let internal = secret(
        owner,
        objects::INTERNAL,
        "internal",
        "Opaque",
        &[(TOKEN, &fresh())],
    );
    let mut secrets = vec![
        Generated {
            once: internal,
            always: None,
        },
        database(
            owner,
            place,
            objects::COREDMS_BINDING,
            &tenant.tenant_role(),
            &tenant.keyspace(),
            &fresh(),
        ),
        database(
            owner,
            place,
            objects::PLATFORM_BINDING,
            &tenant.platform_role(),
            &tenant.platform_keyspace(),
            &fresh(),
        ),
        broker_binding(owner, valid, platform, &fresh()),
    ];
    secrets.extend(valid.users.iter().map(|user| Generated {
        once: secret(
            owner,
            &user_secret(&user.name),
            USER_COMPONENT,
            "Opaque",
            &[
                ("username", &user.name),
                (PASSWORD, &fresh()),
                (TOKEN, &fresh()),
            ],
        ),
        always: None,
    }));
    secrets
}

fn database(
    owner: &Owner,
    place: &DatabasePlace,
    name: &str,
    role: &str,
    keyspace: &str,
    password: &str,
) -> Generated {
    let (hosts, port) = (place.hosts(), place.port().to_string());
    let mut entries = vec![
        ("host", hosts.as_str()),
        ("port", &port),
        ("keyspace", keyspace),
        ("username", role),
    ];
    let datacenter = place.datacenter.as_deref();
    entries.extend(datacenter.map(|datacenter| ("datacenter", datacenter)));
    let batch = place.batch_size_warn_threshold().map(|n| n.to_string());
    entries.extend(
        batch
            .iter()
            .map(|bytes| ("batch_size_warn_threshold", bytes.as_str())),
    );
    entries.extend(tls_entries(place.tls()));
    binding(owner, name, binding_type(place.engine), password, &entries)
}

fn broker_binding(
    owner: &Owner,
    valid: &ValidatedTenant,
    platform: &Platform,
    password: &str,
) -> Generated {
    let tenant = owner.name();
    let place = &valid.broker;
    let hosts = place.hosts(&platform.namespace);
    let port = place.port().to_string();
    let (vhost, username) = (tenant.vhost(), tenant.broker_user());
    let most = valid.max_queue_bytes.to_string();
    let mut entries = vec![
        ("host", hosts.as_str()),
        ("port", port.as_str()),
        ("vhost", vhost.as_str()),
        ("username", username.as_str()),
    ];
    entries.extend(tls_entries(place.tls()));
    let service = match place.broker_type {
        BrokerType::RabbitMQ => "rabbitmq",
        BrokerType::Kafka => {
            // Kafka itself has no bound that refuses: its publishers see to it.
            entries.push((source::MAX_QUEUE_BYTES, &most));
            source::KAFKA
        }
    };
    binding(owner, objects::BROKER_BINDING, service, password, &entries)
}

fn binding(
    owner: &Owner,
    name: &str,
    service: &str,
    password: &str,
    entries: &[(&str, &str)],
) -> Generated {
    let secret = |data: &[(&str, &str)]| {
        secret(
            owner,
            name,
            "binding",
            &format!("servicebinding.io/{service}"),
            data,
        )
    };
    let well_known = [("type", service), ("provider", "simbdp")];
    Generated {
        once: secret(&[(PASSWORD, password)]),
        always: Some(secret(&[&well_known, entries].concat())),
    }
}

/// Names, roles and hashes of users: what the gateway mounts.
pub fn gateway_users(owner: &Owner, users: &Users) -> Secret {
    // A `Users` has only strings and enums, which always serialise.
    let file = serde_json::to_string_pretty(users).unwrap_or_default();
    secret(
        owner,
        objects::GATEWAY_USERS,
        "gateway",
        "Opaque",
        &[("users.json", &file)],
    )
}

fn secret(
    owner: &Owner,
    name: &str,
    component: &str,
    type_: &str,
    data: &[(&str, &str)],
) -> Secret {
    Secret {
        metadata: owner.meta(name, component),
        type_: Some(type_.to_owned()),
        data: Some(
            data.iter()
                .map(|(key, value)| ((*key).to_owned(), ByteString(value.as_bytes().to_vec())))
                .collect::<BTreeMap<_, _>>(),
        ),
        ..Default::default()
    }
}
