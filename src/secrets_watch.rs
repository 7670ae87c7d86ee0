//! One watch on Secrets per managed namespace [IO]: the operator may read Secrets nowhere else. A
//! namespace's watch begins when its owner has the right to it and ends when the namespace goes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::task::AbortHandle;

use crate::triggers::{MANAGED, Triggers};

/// The watches, by namespace.
pub struct SecretsWatch {
    client: Client,
    triggers: Option<Triggers>,
    watches: Mutex<HashMap<String, AbortHandle>>,
}

impl SecretsWatch {
    /// Watches that trigger reconciles; none when there is nobody to trigger.
    pub fn new(client: Client, triggers: Option<Triggers>) -> Self {
        Self {
            client,
            triggers,
            watches: Mutex::default(),
        }
    }

    /// Begins to watch a namespace, unless it is watched. The operator needs the right to it first.
    pub fn watch(&self, namespace: &str) {
        let Some(triggers) = &self.triggers else {
            return;
        };
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        watches.entry(namespace.to_owned()).or_insert_with(|| {
            let api = Api::namespaced(self.client.clone(), namespace);
            tokio::spawn(follow(api, triggers.clone())).abort_handle()
        });
    }

    /// Ends the watch of a namespace.
    pub fn forget(&self, namespace: &str) {
        let mut watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watch) = watches.remove(namespace) {
            watch.abort();
        }
    }

    /// Namespaces that are watched.
    pub fn namespaces(&self) -> Vec<String> {
        let watches = self.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<_> = watches.keys().cloned().collect();
        names.sort();
        names
    }
}

impl Drop for SecretsWatch {
    fn drop(&mut self) {
        for namespace in self.namespaces() {
            self.forget(&namespace);
        }
    }
}

async fn follow(api: Api<PartialObjectMeta<Secret>>, triggers: Triggers) {
    let mut events = watcher(api, watcher::Config::default().labels(MANAGED))
        .default_backoff()
        .touched_objects()
        .boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(secret) => triggers.child(&secret.metadata).await,
            Err(error) => tracing::debug!(%error, "the watch on Secrets pauses"),
        }
    }
}
