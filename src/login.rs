//! Logins in Secrets [pure]: those that the operator made, and those that people gave it for servers of their own.

use k8s_openapi::api::core::v1::Secret;

use crate::apply::text;

/// Key of the name.
pub const USERNAME: &str = "username";
/// Key of the password.
pub const PASSWORD: &str = "password";

/// A server that nobody can log in to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoLogin {
    /// There is no Secret.
    #[error(
        "Secret {namespace}/{name} is not there: create it, with the keys username and password"
    )]
    Missing {
        /// Where it is to be.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A key is missing, empty or not UTF-8.
    #[error("Secret {secret} has no `{key}` that can be used: add that key")]
    Key {
        /// The Secret.
        secret: String,
        /// The key.
        key: &'static str,
    },
}

impl NoLogin {
    /// CamelCase, for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "SecretMissing",
            Self::Key { .. } => "MissingKey",
        }
    }
}

/// Whose a login is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Author {
    /// The operator made it, and it is as it was made.
    Operator,
    /// A person wrote it, often with a line's end.
    Person,
}

/// Name and password in the Secret of this name.
pub fn read(
    secret: Option<&Secret>,
    (namespace, name): (&str, &str),
    author: Author,
) -> Result<(String, String), NoLogin> {
    let Some(secret) = secret else {
        return Err(NoLogin::Missing {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
    };
    let of = |key: &'static str| {
        let found = text(secret, key).map(|text| match author {
            Author::Operator => text,
            Author::Person => text.trim_end_matches('\n').to_owned(),
        });
        found
            .filter(|text| !text.is_empty())
            .ok_or_else(|| NoLogin::Key {
                secret: name.to_owned(),
                key,
            })
    };
    Ok((of(USERNAME)?, of(PASSWORD)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::ByteString;

    use super::*;

    fn login(entries: &[(&str, &str)], author: Author) -> Result<(String, String), NoLogin> {
        let data = entries.iter().map(|(key, text)| {
            let text = ByteString(text.as_bytes().to_vec());
            ((*key).to_owned(), text)
        });
        let secret = Secret {
            data: Some(data.collect::<BTreeMap<_, _>>()),
            ..Default::default()
        };
        read(Some(&secret), ("n", "login"), author)
    }

    #[test]
    fn the_line_end_that_people_write_is_none_of_the_password() {
        let entries = [("username", "ada"), ("password", "secret\n")];
        let of = |author| login(&entries, author).unwrap().1;
        assert_eq!(of(Author::Person), "secret");
        assert_eq!(of(Author::Operator), "secret\n");
    }

    #[test]
    fn what_is_missing_is_named() {
        let none = read(None, ("n", "login"), Author::Person).unwrap_err();
        assert_eq!(none.reason(), "SecretMissing");
        assert!(none.to_string().contains("n/login"));
        let empty = login(&[("username", "ada"), ("password", "\n")], Author::Person);
        assert!(empty.unwrap_err().to_string().contains("`password`"));
    }
}
