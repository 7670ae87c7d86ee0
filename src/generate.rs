//! Writes what is generated from the Rust types: the custom resource definitions and their documentation.

use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// A file that cannot be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// A definition cannot be written as YAML.
    #[error("cannot write {name} as YAML")]
    Encode {
        /// Name of the definition.
        name: String,
        /// Why.
        #[source]
        source: serde_yaml::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Every definition, in one YAML text.
pub fn definitions() -> Result<String, GenerateError> {
    let texts = simbdp_api::custom_resource_definitions();
    let texts: Result<Vec<_>, _> = texts.iter().map(yaml).collect();
    Ok(texts?.concat())
}

/// One file a definition.
pub fn write_definitions(directory: &Path) -> Result<(), GenerateError> {
    for definition in simbdp_api::custom_resource_definitions() {
        write(&file(directory, &definition), &yaml(&definition)?)?;
    }
    Ok(())
}

/// One file a definition, for a chart: kept when the chart is uninstalled, since with it every object would go.
pub fn write_chart(directory: &Path) -> Result<(), GenerateError> {
    for mut definition in simbdp_api::custom_resource_definitions() {
        let annotations = definition.metadata.annotations.get_or_insert_default();
        annotations.insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
        let text = yaml(&definition)?.replace("{{", "{{ \"{{\" }}");
        write(&file(directory, &definition), &text)?;
    }
    Ok(())
}

/// The documentation of every field.
pub fn write_docs(path: &Path) -> Result<(), GenerateError> {
    write(path, &simbdp_api::reference::markdown())
}

fn yaml(definition: &CustomResourceDefinition) -> Result<String, GenerateError> {
    let text = serde_yaml::to_string(definition).map_err(|source| GenerateError::Encode {
        name: definition.spec.names.plural.clone(),
        source,
    })?;
    Ok(format!("---\n{text}"))
}

fn file(directory: &Path, definition: &CustomResourceDefinition) -> PathBuf {
    directory.join(format!("{}.yaml", definition.spec.names.plural))
}

fn write(path: &Path, text: &str) -> Result<(), GenerateError> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent
        .map_or(Ok(()), std::fs::create_dir_all)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|source| GenerateError::Write {
            path: path.to_owned(),
            source,
        })
}
