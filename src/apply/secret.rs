//! Secrets with generated texts: a text is generated once and never overwritten, since whoever edits it
//! means it.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::PostParams;
use kube::{Api, core::ObjectMeta};
use serde_json::json;

use super::{Applier, ApplyError, check_ours, decode};
use crate::error::ApiError;

impl Applier {
    /// Makes sure that a Secret exists and has every key of `wanted`, whose values serve only for keys that are
    /// missing. Returns it with the values that hold.
    pub async fn ensure_secret(&self, wanted: &Secret) -> Result<Secret, ApplyError> {
        let (namespace, name) = (wanted.namespace().unwrap_or_default(), wanted.name_any());
        let object = format!("Secret {name}");
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let Some(live) = self.read::<Secret>(Some(&namespace), &name).await? else {
            let params = PostParams {
                field_manager: Some(self.manager.to_owned()),
                ..Default::default()
            };
            return api
                .create(&params, wanted)
                .await
                .map_err(|error| ApplyError::Write {
                    object,
                    source: error.into(),
                });
        };
        check_ours(&live, &wanted.metadata, &object)?;
        let live: Secret = decode(&live, object.clone())?;
        let missing = missing(wanted, &live);
        let labels = missing_labels(&wanted.metadata, &live.metadata);
        if missing.is_empty() && labels.is_empty() {
            return Ok(live);
        }
        // The resourceVersion makes a concurrent edit win: nothing of it is overwritten.
        let body = json!({
            "metadata": {"resourceVersion": live.metadata.resource_version, "labels": labels},
            "data": missing,
        });
        let params = kube::api::PatchParams {
            field_manager: Some(self.manager.to_owned()),
            ..Default::default()
        };
        api.patch(&name, &params, &kube::api::Patch::Merge(body))
            .await
            .map_err(|error| ApplyError::Write {
                object,
                source: ApiError(error),
            })
    }
}

/// Keys that are wanted and not there, with the values to give them.
fn missing(wanted: &Secret, live: &Secret) -> BTreeMap<String, ByteString> {
    let have = live.data.as_ref();
    let texts = wanted.string_data.iter().flatten();
    let texts = texts.map(|(key, text)| (key.clone(), ByteString(text.clone().into_bytes())));
    let bytes = wanted.data.iter().flatten();
    let bytes = bytes.map(|(key, bytes)| (key.clone(), bytes.clone()));
    texts
        .chain(bytes)
        .filter(|(key, _)| !have.is_some_and(|have| have.contains_key(key)))
        .collect()
}

fn missing_labels(wanted: &ObjectMeta, live: &ObjectMeta) -> BTreeMap<String, String> {
    let have = live.labels.clone().unwrap_or_default();
    wanted
        .labels
        .iter()
        .flatten()
        .filter(|(key, value)| have.get(*key) != Some(value))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// A value of a Secret as text.
pub fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    String::from_utf8(bytes.clone()).ok()
}

/// 256 random bits as 64 hexadecimal digits: needs no quoting anywhere.
pub fn random_text() -> String {
    let bytes: [u8; 32] = rand::random();
    hex::encode(bytes)
}
