//! [IO] Users, their passwords and their rights.

use std::collections::BTreeSet;

use bytes::Bytes;
use hmac::Hmac;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::{
    AlterUserScramCredentialsRequest, ApiVersionsRequest, CreateAclsRequest, DeleteAclsRequest,
    DescribeAclsRequest,
};
use kafka_protocol::protocol::StrBytes;
use sha2::Sha512;

use super::cluster::{Cluster, ClusterError, Node, check, text};
use super::plan::{Right, principal};

/// SCRAM-SHA-512, by its number.
const SHA512: i8 = 2;
/// What Kafka itself takes at least. A tenant's password is random, so no more is needed.
const ITERATIONS: u32 = 4_096;
const SALT_BYTES: usize = 24;
/// Any kind, pattern, operation or permission.
const ANY: i8 = 1;
const ACLS: i16 = 2;
const SCRAM: i16 = 0;
const FINALIZED_FEATURES: i16 = 3;
/// The feature that names the release a cluster works as.
const METADATA_VERSION: &str = "metadata.version";
/// Releases by the first level of that feature that they have
/// (apache/kafka:server-common/src/main/java/org/apache/kafka/server/common/MetadataVersion.java).
const RELEASES: [(i16, &str); 6] = [
    (7, "3.3"),
    (19, "3.7"),
    (21, "3.9"),
    (25, "4.0"),
    (27, "4.1"),
    (29, "4.2"),
];

/// The release that the cluster works as.
pub(super) async fn version(cluster: &Cluster) -> Result<String, ClusterError> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("simbdp"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    let answer = cluster
        .ask(Node::Any, &request, FINALIZED_FEATURES, "ApiVersions")
        .await?;
    check(answer.error_code, None)?;
    let mut features = answer.finalized_features.iter();
    let level = features.find(|feature| feature.name.as_str() == METADATA_VERSION);
    Ok(release(
        level.map_or(0, |feature| feature.max_version_level),
    ))
}

fn release(level: i16) -> String {
    let mut releases = RELEASES.iter().rev();
    let found = releases.find(|(first, _)| *first <= level);
    found.map_or_else(
        || "before 3.3".to_owned(),
        |(_, release)| (*release).to_owned(),
    )
}

/// Makes the user, or changes its password.
pub(super) async fn set_password(
    cluster: &Cluster,
    username: &str,
    password: &str,
) -> Result<(), ClusterError> {
    let salt: [u8; SALT_BYTES] = rand::random();
    let mut salted = [0; 64];
    // It fails for no length of key.
    let _ = pbkdf2::pbkdf2::<Hmac<Sha512>>(password.as_bytes(), &salt, ITERATIONS, &mut salted);
    let upsertion = ScramCredentialUpsertion::default()
        .with_name(text(username))
        .with_mechanism(SHA512)
        .with_iterations(ITERATIONS.try_into().unwrap_or(i32::MAX))
        .with_salt(Bytes::copy_from_slice(&salt))
        .with_salted_password(Bytes::copy_from_slice(&salted));
    let request = AlterUserScramCredentialsRequest::default().with_upsertions(vec![upsertion]);
    alter(cluster, &request).await
}

/// Deletes the user. Already gone is fine.
pub(super) async fn delete(cluster: &Cluster, username: &str) -> Result<(), ClusterError> {
    let deletion = ScramCredentialDeletion::default()
        .with_name(text(username))
        .with_mechanism(SHA512);
    let request = AlterUserScramCredentialsRequest::default().with_deletions(vec![deletion]);
    match alter(cluster, &request).await {
        Err(error) if error.is(ResponseError::ResourceNotFound) => Ok(()),
        deleted => deleted,
    }
}

async fn alter(
    cluster: &Cluster,
    request: &AlterUserScramCredentialsRequest,
) -> Result<(), ClusterError> {
    let answer = cluster
        .ask(Node::Any, request, SCRAM, "AlterUserScramCredentials")
        .await?;
    for result in answer.results {
        check(result.error_code, result.error_message.as_ref())?;
    }
    Ok(())
}

/// What a user may do.
pub(super) async fn rights(
    cluster: &Cluster,
    username: &str,
) -> Result<BTreeSet<Right>, ClusterError> {
    let request = DescribeAclsRequest::default()
        .with_resource_type_filter(ANY)
        .with_resource_name_filter(None)
        .with_pattern_type_filter(ANY)
        .with_principal_filter(Some(text(&principal(username))))
        .with_host_filter(None)
        .with_operation(ANY)
        .with_permission_type(ANY);
    let answer = cluster
        .ask(Node::Any, &request, ACLS, "DescribeAcls")
        .await?;
    check(answer.error_code, answer.error_message.as_ref())?;
    let resources = answer.resources.iter();
    let rights = resources.flat_map(|resource| {
        resource.acls.iter().map(|acl| Right {
            resource: resource.resource_type,
            name: resource.resource_name.to_string(),
            pattern: resource.pattern_type,
            operation: acl.operation,
            host: acl.host.to_string(),
            permission: acl.permission_type,
        })
    });
    Ok(rights.collect())
}

/// Gives rights to a user.
pub(super) async fn give(
    cluster: &Cluster,
    username: &str,
    rights: &[Right],
) -> Result<(), ClusterError> {
    if rights.is_empty() {
        return Ok(());
    }
    let creation = |right: &Right| {
        AclCreation::default()
            .with_resource_type(right.resource)
            .with_resource_name(text(&right.name))
            .with_resource_pattern_type(right.pattern)
            .with_principal(text(&principal(username)))
            .with_host(text(&right.host))
            .with_operation(right.operation)
            .with_permission_type(right.permission)
    };
    let request =
        CreateAclsRequest::default().with_creations(rights.iter().map(creation).collect());
    let answer = cluster.ask(Node::Any, &request, ACLS, "CreateAcls").await?;
    for result in answer.results {
        check(result.error_code, result.error_message.as_ref())?;
    }
    Ok(())
}

/// Takes rights from a user.
pub(super) async fn take(
    cluster: &Cluster,
    username: &str,
    rights: &[Right],
) -> Result<(), ClusterError> {
    if rights.is_empty() {
        return Ok(());
    }
    let filter = |right: &Right| {
        DeleteAclsFilter::default()
            .with_resource_type_filter(right.resource)
            .with_resource_name_filter(Some(text(&right.name)))
            .with_pattern_type_filter(right.pattern)
            .with_principal_filter(Some(text(&principal(username))))
            .with_host_filter(Some(text(&right.host)))
            .with_operation(right.operation)
            .with_permission_type(right.permission)
    };
    let request = DeleteAclsRequest::default().with_filters(rights.iter().map(filter).collect());
    let answer = cluster.ask(Node::Any, &request, ACLS, "DeleteAcls").await?;
    for result in answer.filter_results {
        check(result.error_code, result.error_message.as_ref())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_tells_the_release() {
        assert_eq!(release(0), "before 3.3");
        assert_eq!(release(20), "3.7");
        assert_eq!(release(27), "4.1");
        assert_eq!(release(99), "4.2");
    }
}
