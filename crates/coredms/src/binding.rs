//! Service Binding directories (<https://servicebinding.io/spec/core/1.1.0/>) of databases: a file for each of
//! `type`, `host`, `port`, `username`, `password`; `datacenter` and `batch_size_warn_threshold`, in bytes, where there is
//! one; with TLS also `tls`, which is `true`, and `ca.crt` where certificates are not of a public authority.

use std::io;
use std::path::{Path, PathBuf};

use simbdp_api::common::Engine;

use crate::{Connection, Options, Trust};

/// A binding that is not as it should be. It never has a password in it.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// What should be a number is none.
    #[error("{path} is `{found}`; it must be a whole number of bytes")]
    Number {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// The binding is of something else.
    #[error("{path} is `{found}`; a database's is cassandra or mongodb")]
    Type {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
}

/// The `type` of an engine's bindings.
pub fn binding_type(engine: Engine) -> &'static str {
    match engine {
        Engine::Cassandra => "cassandra",
        Engine::MongoDB => "mongodb",
    }
}

/// Reads a binding; `host` may name several, joined by commas.
pub fn read(directory: &Path) -> Result<(Connection, Options), BindingError> {
    let (host, port) = (text(directory, "host")?, text(directory, "port")?);
    let endpoints = host
        .split(',')
        .map(|host| format!("{}:{port}", host.trim()))
        .collect();
    Ok((login(directory, endpoints)?, options(directory)?))
}

/// What a binding says beside the login.
pub fn options(directory: &Path) -> Result<Options, BindingError> {
    Ok(Options {
        datacenter: optional(directory, "datacenter")?,
        batch_size_warn_threshold: bytes(directory, "batch_size_warn_threshold")?,
    })
}

fn bytes(directory: &Path, name: &str) -> Result<Option<usize>, BindingError> {
    let found = optional(directory, name)?;
    let parsed = found.map(|found| {
        found.parse().map_err(|_| BindingError::Number {
            path: directory.join(name),
            found,
        })
    });
    parsed.transpose()
}

/// Engine, user and password of a binding, for given endpoints.
pub fn login(directory: &Path, endpoints: Vec<String>) -> Result<Connection, BindingError> {
    Ok(Connection {
        engine: engine(directory)?,
        endpoints,
        username: text(directory, "username")?,
        password: text(directory, "password")?,
        tls: trust(directory)?,
    })
}

fn trust(directory: &Path) -> Result<Option<Trust>, BindingError> {
    let tls = optional(directory, "tls")?;
    Ok(Trust::of_binding(
        tls.as_deref(),
        optional(directory, "ca.crt")?,
    ))
}

fn engine(directory: &Path) -> Result<Engine, BindingError> {
    let found = text(directory, "type")?;
    [Engine::Cassandra, Engine::MongoDB]
        .into_iter()
        .find(|engine| binding_type(*engine) == found)
        .ok_or_else(|| BindingError::Type {
            path: directory.join("type"),
            found,
        })
}

fn optional(directory: &Path, name: &str) -> Result<Option<String>, BindingError> {
    match text(directory, name) {
        Err(BindingError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// A file's text, without the line end that editors add.
fn text(directory: &Path, name: &str) -> Result<String, BindingError> {
    let path = directory.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => Err(BindingError::Read { path, error }),
    }
}

#[cfg(test)]
mod tests {
    use super::{binding_type, read};
    use crate::{Options, Trust};
    use simbdp_api::common::Engine;

    #[test]
    fn reads_a_binding_of_several_hosts() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, value: &str| {
            std::fs::write(directory.path().join(name), value).unwrap();
        };
        for (name, value) in [
            ("host", "a.example, b.example\n"),
            ("port", "9042\n"),
            ("username", "p_x"),
            ("password", "secret\n"),
        ] {
            write(name, value);
        }
        for engine in [Engine::Cassandra, Engine::MongoDB] {
            write("type", binding_type(engine));
            let (connection, options) = read(directory.path()).unwrap();
            assert_eq!(connection.endpoints, ["a.example:9042", "b.example:9042"]);
            assert_eq!(connection.password, "secret");
            assert!(connection.engine == engine && options == Options::default());
            assert_eq!(connection.tls, None);
        }
        let trusts = |expected: Trust| {
            let (connection, _) = read(directory.path()).unwrap();
            assert_eq!(connection.tls, Some(expected));
        };
        write("tls", "true\n");
        trusts(Trust::Public);
        write("ca.crt", "PEM\n");
        trusts(Trust::Bundle("PEM".into()));
        write("datacenter", "dc1");
        write("batch_size_warn_threshold", "51200\n");
        let options = read(directory.path()).unwrap().1;
        assert_eq!(options.datacenter.as_deref(), Some("dc1"));
        assert_eq!(options.batch_size_warn_threshold, Some(51_200));
        write("batch_size_warn_threshold", "50KiB");
        let error = read(directory.path()).err().unwrap().to_string();
        assert!(error.contains("50KiB"), "{error}");
        write("batch_size_warn_threshold", "51200");
        write("type", "mysql");
        let error = read(directory.path()).err().unwrap().to_string();
        assert!(
            error.contains("mysql") && error.contains("mongodb"),
            "{error}"
        );
        std::fs::remove_file(directory.path().join("port")).unwrap();
        let error = read(directory.path()).err().unwrap().to_string();
        assert!(
            error.contains("port") && !error.contains("secret"),
            "{error}"
        );
    }
}
