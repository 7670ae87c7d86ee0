//! Differences [pure] between two objects, field by field. Members of a list are told apart by their names, so that one
//! more or one less is seen as that, and not as a change of all that follow.

use serde_json::{Map, Value};

/// A field that differs.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Path of the field, e.g. `spec.users[ada].role`.
    pub path: String,
    /// What it is.
    pub from: Option<Value>,
    /// What it would be.
    pub to: Option<Value>,
}

/// Fields by which members of a list are told apart.
const KEYS: [&str; 4] = ["name", "column", "tenant", "mountPath"];

/// Every field that differs; a field that is new or gone is not taken apart.
pub fn differences(from: &Value, to: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    walk("", Some(from), Some(to), &mut found);
    found
}

fn walk(path: &str, from: Option<&Value>, to: Option<&Value>, found: &mut Vec<Difference>) {
    match (from, to) {
        (from, to) if from == to => {}
        (Some(Value::Object(from)), Some(Value::Object(to))) => {
            let step = |key: &str| match path {
                "" => key.to_owned(),
                path if key.contains(['.', '/']) => format!("{path}[{key}]"),
                path => format!("{path}.{key}"),
            };
            members(from, to, step, found);
        }
        (Some(Value::Array(one)), Some(Value::Array(other))) => match (named(one), named(other)) {
            (Some(from), Some(to)) => {
                members(&from, &to, |key| format!("{path}[{key}]"), found);
            }
            _ => found.push(difference(path, from, to)),
        },
        (from, to) => found.push(difference(path, from, to)),
    }
}

fn members(
    from: &Map<String, Value>,
    to: &Map<String, Value>,
    step: impl Fn(&str) -> String,
    found: &mut Vec<Difference>,
) {
    let new = to.keys().filter(|key| !from.contains_key(*key));
    for key in from.keys().chain(new) {
        walk(&step(key), from.get(key), to.get(key), found);
    }
}

fn difference(path: &str, from: Option<&Value>, to: Option<&Value>) -> Difference {
    Difference {
        path: path.to_owned(),
        from: from.cloned(),
        to: to.cloned(),
    }
}

/// Members by name; [`None`] where one has none, or two have the same.
fn named(list: &[Value]) -> Option<Map<String, Value>> {
    let key = KEYS.iter().find(|key| {
        let has = |member: &Value| member.get(**key).is_some_and(Value::is_string);
        list.iter().all(has)
    })?;
    let mut members = Map::new();
    for member in list {
        let name = member.get(*key)?.as_str()?;
        if members.insert(name.to_owned(), member.clone()).is_some() {
            return None;
        }
    }
    Some(members)
}

/// An object without what only the API server and controllers write.
pub fn declared(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(all) = object.as_object_mut() {
        all.remove("status");
    }
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return object;
    };
    for own in [
        "managedFields",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "uid",
        "finalizers",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        metadata.remove(own);
    }
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(crate::apply::APPLIED_DIGEST);
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}

/// Where `kubectl apply` keeps what was applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What `kubectl apply` would send: a merge patch that sets what is declared, and takes away what was declared before
/// and is not any more.
pub fn three_way(before: &Value, declared: &Value, live: &Value) -> Value {
    let nothing = Map::new();
    let fields = |value: &Value| value.as_object().cloned();
    let (Some(declared), live) = (fields(declared), fields(live).unwrap_or_default()) else {
        return declared.clone();
    };
    let before = fields(before).unwrap_or_default();
    let gone = before.keys().filter(|key| !declared.contains_key(*key));
    let mut patch: Map<String, Value> = gone
        .filter(|key| live.contains_key(*key))
        .map(|key| (key.clone(), Value::Null))
        .collect();
    for (key, wanted) in &declared {
        match live.get(key) {
            Some(is) if is == wanted => {}
            Some(is) if is.is_object() && wanted.is_object() => {
                let was = before.get(key).unwrap_or(&Value::Null);
                let inner = three_way(was, wanted, is);
                if inner.as_object() != Some(&nothing) {
                    patch.insert(key.clone(), inner);
                }
            }
            _ => drop(patch.insert(key.clone(), wanted.clone())),
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(from: Value, to: Value) -> Vec<String> {
        let text = |value: Option<Value>| value.map_or("-".to_owned(), |value| value.to_string());
        differences(&from, &to)
            .into_iter()
            .map(|d| format!("{} {} {}", d.path, text(d.from), text(d.to)))
            .collect()
    }

    #[test]
    fn fields_are_named_by_their_paths_and_members_of_lists_by_their_names() {
        let from = json!({"spec": {
            "quota": {"pods": 1}, "users": [{"name": "ada", "role": "Writer"}, {"name": "bob", "role": "Reader"}],
            "formats": ["csv"], "labels": {"a.b/c": "1"},
        }});
        let to = json!({"spec": {
            "quota": {"pods": 2, "cpu": "1"}, "users": [{"name": "bob", "role": "Writer"}],
            "formats": ["csv", "ndjson"], "labels": {"a.b/c": "2"},
        }});
        let mut shown = shown(from, to);
        shown.sort();
        assert_eq!(
            shown,
            [
                r#"spec.formats ["csv"] ["csv","ndjson"]"#,
                r#"spec.labels[a.b/c] "1" "2""#,
                r#"spec.quota.cpu - "1""#,
                "spec.quota.pods 1 2",
                r#"spec.users[ada] {"name":"ada","role":"Writer"} -"#,
                r#"spec.users[bob].role "Reader" "Writer""#,
            ]
        );
    }

    #[test]
    fn lists_whose_members_share_a_name_are_whole() {
        let list = json!({"l": [{"name": "a", "x": 1}, {"name": "a", "x": 2}]});
        assert_eq!(shown(list.clone(), list.clone()), [""; 0]);
        assert_eq!(shown(list, json!({"l": []})).len(), 1);
    }

    #[test]
    fn what_was_declared_before_and_is_not_any_more_is_taken_away() {
        let before = json!({"spec": {"a": 1, "gone": 1, "never": 1, "list": [1, 2]}});
        let live =
            json!({"spec": {"a": 1, "gone": 1, "defaulted": 1, "list": [1, 2]}, "status": {}});
        let declared = json!({"spec": {"a": 2, "list": [1]}});
        assert_eq!(
            three_way(&before, &declared, &live),
            json!({"spec": {"gone": null, "a": 2, "list": [1]}})
        );
        assert_eq!(three_way(&json!({}), &live, &live), json!({}));
    }

    #[test]
    fn what_only_the_api_server_writes_is_no_difference() {
        let object = json!({
            "metadata": {"name": "n", "uid": "u", "annotations": {LAST_APPLIED: "{}"}}, "spec": {}, "status": {},
        });
        assert_eq!(
            declared(&object),
            json!({"metadata": {"name": "n"}, "spec": {}})
        );
    }
}
