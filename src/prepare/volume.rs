//! A member's volume: known again by its id, so that a member that comes back without what it had takes the place of
//! the one it was, and never begins anew beside the others.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{PrepareError, write};

/// Name of the file on the volume.
const FILE: &str = "simbdp-volume";
/// Where Kubernetes reads a container's last words.
const LAST_WORDS: &str = "/dev/termination-log";

/// The server's option to take the place of the member at an address; without effect when it has done so.
const REPLACE: &str = "-Dcassandra.replace_address_first_boot";
/// It asks its seeds alone for the others. A replacement that was interrupted has kept the address of the one it takes
/// the place of, and would be refused for that.
const FORGET_PEERS: &str = "-Dcassandra.load_ring_state=false";

/// A member that has joined: what the operator leaves for its pod's next start.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Joined {
    /// Address by which the others know it.
    pub address: String,
    /// Id of its volume.
    pub volume: String,
}

/// The volume's id; made when there is none.
pub fn id(volume: &Path) -> Result<String, PrepareError> {
    let path = volume.join(FILE);
    match std::fs::read_to_string(&path) {
        Ok(id) => return Ok(id),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(PrepareError::Read { path, source }),
    }
    let id = Uuid::new_v4().to_string();
    match write(&path, id.as_bytes(), 0o444) {
        Ok(()) => Ok(id),
        Err(source) => Err(PrepareError::Write { path, source }),
    }
}

/// Writes the options of the server: when the pod's member has joined with another volume than this one, the
/// server takes its place, and its configuration is the one that names the others as its seeds.
pub fn replace(
    members: &Path,
    pod: &str,
    volume: &str,
    options: &Path,
) -> Result<(), PrepareError> {
    let known = joined(&members.join(pod))?;
    let lost = known.filter(|member| member.volume != volume);
    let text = match &lost {
        Some(member) => {
            tracing::warn!(
                pod,
                address = member.address,
                "the volume is not the one that the member joined with: taking its place"
            );
            format!("{REPLACE}={}\n{FORGET_PEERS}\n", member.address)
        }
        None => String::new(),
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PrepareError::Write { path, source }
    };
    write(options, text.as_bytes(), 0o444).map_err(failed(options))?;
    let (own, again) = (
        options.with_file_name(format!("{pod}.yaml")),
        options.with_file_name(format!("{pod}.again.yaml")),
    );
    if lost.is_some() && again.exists() {
        std::fs::rename(&again, &own).map_err(failed(&own))?;
    }
    Ok(())
}

fn joined(path: &Path) -> Result<Option<Joined>, PrepareError> {
    let read = |source| PrepareError::Read {
        path: path.to_owned(),
        source,
    };
    match std::fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| read(io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(read(source)),
    }
}

/// Tells the operator the id.
pub fn tell(id: &str) -> Result<(), PrepareError> {
    let path = Path::new(LAST_WORDS);
    std::fs::write(path, id).map_err(|source| PrepareError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "seeds: db-0";
    const AGAIN: &str = "seeds: db-1,db-2";

    /// Prepares member db-0 on a volume with this id; the options, and the configuration that it has then.
    fn prepared(known: Option<Joined>, volume: &str) -> (String, String) {
        let (members, config) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        if let Some(known) = known {
            let text = serde_json::to_string(&known).unwrap();
            std::fs::write(members.path().join("db-0"), text).unwrap();
        }
        let path = |name: &str| config.path().join(name);
        std::fs::write(path("db-0.yaml"), OWN).unwrap();
        std::fs::write(path("db-0.again.yaml"), AGAIN).unwrap();
        let options = path("server.options");
        replace(members.path(), "db-0", volume, &options).unwrap();
        (
            std::fs::read_to_string(options).unwrap(),
            std::fs::read_to_string(path("db-0.yaml")).unwrap(),
        )
    }

    fn known() -> Option<Joined> {
        Some(Joined {
            address: "10.0.0.7".to_owned(),
            volume: "one".to_owned(),
        })
    }

    #[test]
    fn a_volume_keeps_its_id() {
        let directory = tempfile::tempdir().unwrap();
        let first = id(directory.path()).unwrap();
        assert_eq!(id(directory.path()).unwrap(), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(id(other.path()).unwrap(), first);
    }

    #[test]
    fn a_member_that_never_joined_begins_and_one_with_its_own_volume_goes_on() {
        let as_declared = (String::new(), OWN.to_owned());
        assert_eq!(prepared(None, "one"), as_declared);
        assert_eq!(prepared(known(), "one"), as_declared);
    }

    #[test]
    fn a_member_with_another_volume_takes_its_own_place_and_asks_the_others() {
        let (options, config) = prepared(known(), "two");
        assert_eq!(options, format!("{REPLACE}=10.0.0.7\n{FORGET_PEERS}\n"));
        assert_eq!(config, AGAIN);
    }

    #[test]
    fn what_cannot_be_read_stops_the_start() {
        let members = tempfile::tempdir().unwrap();
        std::fs::write(members.path().join("db-0"), "{").unwrap();
        let error = replace(members.path(), "db-0", "one", Path::new("/nonexistent/x"));
        assert!(error.unwrap_err().to_string().contains("db-0"));
    }
}
