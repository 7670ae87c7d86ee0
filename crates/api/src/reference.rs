//! The reference of the custom resources as Markdown, made from their schemas: `docs/api.md`.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};

/// The reference of every custom resource.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Custom resources\n\nGroup `simbdp.dev`, version `v1alpha1`. Made from the Rust types by `make generate`.\n",
    );
    for crd in crate::custom_resource_definitions() {
        kind(&mut page, &crd);
    }
    page
}

fn kind(page: &mut String, crd: &CustomResourceDefinition) {
    let names = &crd.spec.names;
    let short = names.short_names.clone().unwrap_or_default().join(", ");
    let Some(schema) = crd.spec.versions.first().and_then(|version| {
        let validation = version.schema.as_ref()?;
        validation.open_api_v3_schema.as_ref()
    }) else {
        return;
    };
    let about = schema.description.clone().unwrap_or_default();
    let scope = crd.spec.scope.to_lowercase();
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "\n## {}\n\n{about}\n\n`{}` (`{short}`), {scope}.\n",
        names.kind, names.plural
    );
    for part in ["spec", "status"] {
        let Some(properties) = schema.properties.as_ref().and_then(|all| all.get(part)) else {
            continue;
        };
        let _ = write!(
            page,
            "\n### {}.{part}\n\n| field | type | default | |\n|---|---|---|---|\n",
            names.kind
        );
        fields(page, "", properties);
    }
    let mut rules = Vec::new();
    collect_rules("", schema, &mut rules);
    if !rules.is_empty() {
        let _ = write!(page, "\n### Rules of {}\n\n", names.kind);
        for (path, message) in rules {
            let _ = writeln!(page, "- `{path}`: {message}");
        }
    }
}

fn fields(page: &mut String, prefix: &str, schema: &JSONSchemaProps) {
    let required = schema.required.clone().unwrap_or_default();
    for (name, property) in schema.properties.iter().flatten() {
        let path = format!("{prefix}{name}");
        let default = match &property.default {
            Some(value) if value.0.is_object() => "see its fields".to_owned(),
            Some(value) => format!("`{}`", value.0),
            None if required.contains(name) => "**required**".to_owned(),
            None => String::new(),
        };
        let about = property
            .description
            .clone()
            .unwrap_or_default()
            .replace('\n', " ")
            .replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{path}` | {} | {default} | {about} |",
            type_of(property)
        );
        // Kubernetes documents its own types.
        if path != "conditions" {
            fields(page, &format!("{path}."), property);
            if let Some(item) = items(property) {
                fields(page, &format!("{path}[]."), item);
            }
        }
    }
}

fn items(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(item) => Some(item),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

fn type_of(schema: &JSONSchemaProps) -> String {
    let choices: Vec<String> = schema
        .enum_
        .iter()
        .flatten()
        .filter_map(|choice| choice.0.as_str().map(|c| format!("`{c}`")))
        .collect();
    if !choices.is_empty() {
        return choices.join(", ");
    }
    let name = schema.type_.clone().unwrap_or_default();
    match items(schema) {
        Some(item) => format!(
            "list of {}{}",
            type_of(item),
            range(schema.min_items, schema.max_items, "")
        ),
        None if name == "string" => {
            format!(
                "string{}",
                range(schema.min_length, schema.max_length, " characters")
            )
        }
        None => {
            let whole = |bound: Option<f64>| bound.map(|b| b as i64);
            format!(
                "{name}{}",
                range(whole(schema.minimum), whole(schema.maximum), "")
            )
        }
    }
}

fn range(least: Option<i64>, most: Option<i64>, unit: &str) -> String {
    match (least, most) {
        (Some(least), Some(most)) => format!(", {least} to {most}{unit}"),
        (None, Some(most)) => format!(", up to {most}{unit}"),
        (Some(least), None) => format!(", {least} or more{unit}"),
        (None, None) => String::new(),
    }
}

fn collect_rules(path: &str, schema: &JSONSchemaProps, rules: &mut Vec<(String, String)>) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        let at = if path.is_empty() { "(object)" } else { path };
        rules.push((
            at.to_owned(),
            rule.message.clone().unwrap_or_else(|| rule.rule.clone()),
        ));
    }
    for (name, property) in schema.properties.iter().flatten() {
        let below = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        collect_rules(&below, property, rules);
        if let Some(item) = items(property) {
            collect_rules(&format!("{below}[]"), item, rules);
        }
    }
}
