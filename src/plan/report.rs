//! What a plan says [pure]: a section a document, in the shape that is printed as JSON.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::documents::{Document, Kind};

/// What documents would do, in the order in which they are looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// One for each document.
    pub documents: Vec<Section>,
    /// How much it is in all.
    pub summary: Summary,
}

/// What one document would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Section {
    /// Kind of the document.
    pub kind: String,
    /// Its namespace, where the kind is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// What becomes of the object itself.
    pub action: Action,
    /// Why it would be refused: nothing else is planned for it then, unless the refusal comes later than the apply.
    pub refused: Vec<Refusal>,
    /// What would be made.
    pub create: Vec<Item>,
    /// What would be changed in place.
    pub change: Vec<Change>,
    /// Whose pods would be made anew.
    pub restart: Vec<Item>,
    /// What would be taken away and can be made again.
    pub remove: Vec<Item>,
    /// What would be gone for good.
    pub lose: Vec<Item>,
    /// What stays although its owner goes.
    pub keep: Vec<Item>,
    /// What else is good to know.
    pub notes: Vec<String>,
}

/// What becomes of an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Change,
    /// It is there as declared.
    None,
    /// It goes.
    Delete,
    /// It is refused.
    Refuse,
    /// It is not looked at.
    Skip,
}

/// Who refuses something, and in which words.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Who.
    pub by: Refuser,
    /// CamelCase.
    pub reason: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Who refuses something.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Refuser {
    /// The API server, at the apply or the deletion itself.
    ApiServer,
    /// The operator, which would say so in the object's status.
    Operator,
}

/// Where something is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// An object of the API server.
    Cluster,
    /// Something in a database.
    Database,
    /// Something in a broker.
    Broker,
    /// Files on the volumes of a gateway.
    Staging,
}

/// Something that is made, restarted, removed, lost or kept.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// Where it is.
    #[serde(rename = "in")]
    pub place: Place,
    /// What it is.
    pub kind: String,
    /// Namespace, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// What else is known of it, e.g. the size of a volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Item {
    /// Something without a namespace.
    pub fn new(place: Place, kind: &str, name: impl Into<String>) -> Self {
        Self {
            place,
            kind: kind.to_owned(),
            namespace: None,
            name: name.into(),
            detail: None,
        }
    }

    /// An object of the API server.
    pub fn object(kind: &str, namespace: Option<&str>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.map(str::to_owned),
            ..Self::new(Place::Cluster, kind, name)
        }
    }

    /// The same, with what else is known of it.
    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// A field that is changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Kind of the object.
    pub kind: String,
    /// Its namespace, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Path of the field; members of a list that have names are in brackets.
    pub path: String,
    /// What it is; [`None`] where there is nothing, and for what is secret.
    pub from: Option<Value>,
    /// What it would be; [`None`] where there is nothing, and for what is secret.
    pub to: Option<Value>,
}

/// How much a plan is in all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Things that would be made.
    pub create: usize,
    /// Objects that would be changed.
    pub change: usize,
    /// Objects whose pods would be made anew.
    pub restart: usize,
    /// Things that would be taken away.
    pub remove: usize,
    /// Things that would be gone for good.
    pub lose: usize,
    /// Volumes among them.
    pub volumes: usize,
    /// Documents that would be refused.
    pub refused: usize,
}

/// Kind of a volume's claim.
pub const CLAIM: &str = "PersistentVolumeClaim";

impl Section {
    /// Of a document of which nothing is known yet.
    pub fn of(document: &Document) -> Self {
        Self {
            kind: document.kind_name.clone(),
            namespace: document.namespace.clone(),
            name: document.name.clone(),
            action: Action::None,
            refused: Vec::new(),
            create: Vec::new(),
            change: Vec::new(),
            restart: Vec::new(),
            remove: Vec::new(),
            lose: Vec::new(),
            keep: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The document's own object.
    pub fn item(&self) -> Item {
        Item::object(&self.kind, self.namespace.as_deref(), self.name.clone())
    }

    /// The API server refuses the document: nothing else is planned for it.
    pub fn refuse_at_once(&mut self, message: impl Into<String>) {
        self.action = Action::Refuse;
        self.refused.push(Refusal {
            by: Refuser::ApiServer,
            reason: "Refused".to_owned(),
            message: message.into(),
        });
    }

    /// The operator would refuse what the API server takes.
    pub fn refuse(&mut self, reason: &str, message: impl Into<String>) {
        self.refused.push(Refusal {
            by: Refuser::Operator,
            reason: reason.to_owned(),
            message: message.into(),
        });
    }

    /// The document is not of this project.
    pub fn skip(&mut self) {
        self.action = Action::Skip;
        let kinds = Kind::NAMES.join(", ");
        self.note(format!("only {kinds} are planned: it is left out"));
    }

    /// Says something once.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

impl Plan {
    /// Of these sections.
    pub fn of(documents: Vec<Section>) -> Self {
        let count =
            |items: fn(&Section) -> &Vec<Item>| documents.iter().map(|s| items(s).len()).sum();
        let changed: BTreeSet<_> = documents
            .iter()
            .flat_map(|section| &section.change)
            .map(|change| (&change.kind, &change.namespace, &change.name))
            .collect();
        let lost = documents.iter().flat_map(|section| &section.lose);
        let summary = Summary {
            create: count(|section| &section.create),
            change: changed.len(),
            restart: count(|section| &section.restart),
            remove: count(|section| &section.remove),
            lose: count(|section| &section.lose),
            volumes: lost.filter(|item| item.kind == CLAIM).count(),
            refused: documents
                .iter()
                .filter(|section| !section.refused.is_empty())
                .count(),
        };
        Self { documents, summary }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn section() -> Section {
        let text = "{apiVersion: simbdp.dev/v1alpha1, kind: Tenant, metadata: {name: acme}}";
        Section::of(&super::super::parse(text, "default").unwrap()[0])
    }

    fn change(name: &str, path: &str) -> Change {
        Change {
            kind: "Tenant".into(),
            namespace: None,
            name: name.into(),
            path: path.into(),
            from: None,
            to: Some(json!(1)),
        }
    }

    #[test]
    fn objects_that_change_are_counted_and_not_their_fields() {
        let mut one = section();
        one.create.push(Item::new(Place::Database, "Table", "t"));
        one.change = vec![
            change("acme", "a"),
            change("acme", "b"),
            change("other", "a"),
        ];
        one.lose = vec![
            Item::object(CLAIM, Some("n"), "data-0").with("1Gi"),
            Item::object("Secret", Some("n"), "s"),
        ];
        one.refuse("QuotaTooSmall", "too small");
        let summary = Plan::of(vec![one, section()]).summary;
        assert_eq!((summary.create, summary.change), (1, 2));
        assert_eq!((summary.lose, summary.volumes), (2, 1));
        assert_eq!(summary.refused, 1);
    }

    #[test]
    fn the_shape_of_the_json_is_stable() {
        let mut one = section();
        one.create
            .push(Item::object(CLAIM, Some("n"), "data-0").with("1Gi"));
        one.refuse_at_once("no");
        let json = serde_json::to_value(Plan::of(vec![one])).unwrap();
        assert_eq!(
            json,
            json!({
                "documents": [{
                    "kind": "Tenant", "name": "acme", "action": "refuse",
                    "refused": [{"by": "apiServer", "reason": "Refused", "message": "no"}],
                    "create": [{"in": "cluster", "kind": CLAIM, "namespace": "n", "name": "data-0", "detail": "1Gi"}],
                    "change": [], "restart": [], "remove": [], "lose": [], "keep": [], "notes": [],
                }],
                "summary": {
                    "create": 1, "change": 0, "restart": 0, "remove": 0, "lose": 0, "volumes": 0, "refused": 1,
                },
            })
        );
    }
}
