//! Events [IO]: what a person wants to know, on the object that it is about.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

/// Longest note that the API server accepts, in bytes.
const MAX_NOTE: usize = 1024;

/// Publishes events. One that cannot be published is logged and lost: nothing depends on it.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl Events {
    /// Events of the operator that runs as `instance`.
    pub fn new(client: Client, instance: &str) -> Self {
        let reporter = Reporter {
            controller: "simbdp-operator".to_owned(),
            instance: Some(instance.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Something went as it should.
    pub async fn normal(&self, about: &ObjectReference, action: &str, reason: &str, note: &str) {
        self.publish(EventType::Normal, about, action, reason, note)
            .await;
    }

    /// Somebody should have a look.
    pub async fn warning(&self, about: &ObjectReference, action: &str, reason: &str, note: &str) {
        self.publish(EventType::Warning, about, action, reason, note)
            .await;
    }

    async fn publish(
        &self,
        type_: EventType,
        about: &ObjectReference,
        action: &str,
        reason: &str,
        note: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(shortened(note)),
            action: action.to_owned(),
            secondary: None,
        };
        // Events about objects without a namespace live in `default`, where kubectl looks for them.
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::warn!(error = %crate::error::ApiError(error), reason, "cannot publish an event");
        }
    }
}

fn shortened(note: &str) -> String {
    let mut end = note.len().min(MAX_NOTE);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note[..end].to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_long_note_is_cut_at_a_character() {
        let long = "é".repeat(1000);
        let short = super::shortened(&long);
        assert_eq!(short.len(), 1024);
        assert_eq!(super::shortened("as it is"), "as it is");
    }
}
