//! A database that the operator does not run: validate [pure] → observe [IO] → status [pure]. It is logged in to and
//! asked, and nothing in it is changed here; what tenants need is made by their own controllers.

use simbdp_api::{CoreDms, CoreDmsStatus};
use simbdp_coredms::admin::{AdminError, Member};

use super::error::{Error, database_reason};
use super::login;
use super::observe::{DATABASE_READY, bytes};
use super::place::DatabasePlace;
use super::status::data;
use super::validate::Invalid;
use crate::apply::Applier;
use crate::conditions::{Fact, Facts, ready, reconciling};
use crate::context::Context;
use crate::login::NoLogin;

/// What was seen of an external database.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Where it is.
    pub place: DatabasePlace,
    /// What it said.
    pub answer: Answer,
}

/// What an external database said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It cannot be asked: there is no login.
    NoLogin(NoLogin),
    /// It does not answer as it should.
    Failed(AdminError),
    /// It answers.
    Said {
        /// Members as it sees them.
        members: Vec<Member>,
        /// Datacenter of the member that answered, where the engine has such.
        datacenter: Option<String>,
        /// Bytes of data on the member with the most, when they are told.
        bytes: Option<u64>,
    },
}

/// Where the database is; [`None`] when the operator runs it.
pub fn validate(coredms: &CoreDms) -> Result<Option<DatabasePlace>, Invalid> {
    let place = DatabasePlace::of(coredms);
    let Some(outside) = &place.external else {
        return Ok(None);
    };
    outside.check("db.example:9042")?;
    Ok(Some(place))
}

/// Logs in and asks.
pub async fn observe(
    ctx: &Context,
    applier: &Applier,
    coredms: &CoreDms,
    place: DatabasePlace,
) -> Result<Observed, Error> {
    let answer = match login::connection(applier, &place).await? {
        Err(no_login) => Answer::NoLogin(no_login),
        Ok(connection) => {
            let asked = async {
                let admin = ctx.coredms.connect(&connection).await?;
                admin.serves().await?;
                let (members, datacenter) = (admin.members().await?, admin.datacenter().await?);
                let bytes = bytes(&*admin).await;
                ctx.pulses.watch(coredms, admin, &members);
                Ok(Answer::Said {
                    members,
                    datacenter,
                    bytes,
                })
            };
            asked.await.unwrap_or_else(Answer::Failed)
        }
    };
    Ok(Observed { place, answer })
}

/// Status of an external database. What it said stays while it does not answer.
pub fn status(coredms: &CoreDms, observed: &Observed) -> (CoreDmsStatus, Facts) {
    let before = coredms.status.clone().unwrap_or_default();
    let place = &observed.place;
    let mut status = CoreDmsStatus {
        tenants: coredms.spec.places(),
        endpoint: place.endpoints().first().cloned(),
        ..before
    };
    let facts = match &observed.answer {
        Answer::Said {
            members,
            datacenter,
            bytes,
        } => {
            let up = members.iter().filter(|member| member.up).count();
            status.members = Some(format!("{up}/{}", members.len()));
            status.datacenter = datacenter.clone();
            status.data = data(coredms, *bytes);
            let message = format!("it answers, and sees {up} of {} members up", members.len());
            let mut facts = ready(&message);
            facts.push(Fact::is(DATABASE_READY, "Answers", &message));
            facts
        }
        Answer::NoLogin(no_login) => unready(no_login.reason(), &no_login.to_string()),
        Answer::Failed(error) => unready(database_reason(error), &explain(error, place)),
    };
    (status, Facts::replacing(facts))
}

fn unready(reason: &str, message: &str) -> Vec<Fact> {
    let mut facts = reconciling(reason, message);
    facts.push(Fact::not(DATABASE_READY, reason, message));
    facts
}

/// The database's words, and what to do.
pub fn explain(error: &AdminError, place: &DatabasePlace) -> String {
    let what = match error {
        AdminError::LoginRefused { .. } => {
            format!("put the right login into Secret {}", place.secret())
        }
        AdminError::Unavailable(_) => {
            "see whether it runs, is reached from the operator's namespace, and has spec.external.addresses".to_owned()
        }
        AdminError::Tls(_) => {
            "see whether spec.external.tls and its trustBundle are as the database has it, and whether the certificate of each member is for what it is reached by".to_owned()
        }
        AdminError::Refused { .. } | AdminError::TableConflict { .. } => {
            "see whether spec.external.addresses and spec.engine are right, and what the login may do".to_owned()
        }
    };
    format!("{error}: {what}; it is tried again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coredms(addresses: &str) -> CoreDms {
        let text = format!(
            "{{metadata: {{name: c, namespace: n}}, spec: {{maxTenants: 4, external: {{addresses: {addresses}, secretRef: {{name: login}}}}}}}}"
        );
        serde_yaml::from_str(&text).unwrap()
    }

    fn told(answer: Answer) -> (CoreDmsStatus, Facts) {
        let coredms = coredms("['a:9042']");
        let place = DatabasePlace::of(&coredms);
        status(&coredms, &Observed { place, answer })
    }

    #[test]
    fn an_external_database_is_where_it_can_be_reached() {
        let two = validate(&coredms("['a:9042', 'b:9042']"));
        assert!(two.unwrap().is_some());
        let none = validate(&coredms("['a:70000']")).unwrap_err();
        assert!(none.to_string().contains("`a:70000`"), "{none}");
    }

    #[test]
    fn what_it_says_of_itself_is_its_status() {
        let member = |up| Member {
            address: "10.0.0.1".into(),
            state: "NORMAL".into(),
            up,
        };
        let (status, facts) = told(Answer::Said {
            members: vec![member(true), member(true), member(false)],
            datacenter: Some("eu".into()),
            bytes: Some(5 << 20),
        });
        assert_eq!(status.members.as_deref(), Some("2/3"));
        assert_eq!(status.datacenter.as_deref(), Some("eu"));
        assert_eq!(status.data, Some("5Mi".into()));
        assert_eq!(status.tenants.as_deref(), Some("0/4"));
        assert!(facts.get(DATABASE_READY).unwrap().holds);
    }

    #[test]
    fn each_way_not_to_answer_says_what_to_do() {
        let refused = AdminError::LoginRefused {
            username: "ada".into(),
            reason: "wrong".into(),
        };
        let foreign = AdminError::Refused {
            action: "to speak CQL".into(),
            reason: "HTTP".into(),
        };
        let key = NoLogin::Key {
            secret: "login".into(),
            key: "password",
        };
        for (answer, reason, message) in [
            (
                Answer::NoLogin(NoLogin::Missing {
                    namespace: "n".into(),
                    name: "login".into(),
                }),
                "SecretMissing",
                "create it",
            ),
            (Answer::NoLogin(key), "MissingKey", "`password`"),
            (Answer::Failed(refused), "LoginRefused", "Secret login"),
            (
                Answer::Failed(AdminError::Unavailable("refused".into())),
                "DatabaseUnavailable",
                "spec.external.addresses",
            ),
            (Answer::Failed(foreign), "DatabaseRefused", "spec.engine"),
            (
                Answer::Failed(AdminError::Tls("it has expired".into())),
                "TlsFailed",
                "spec.external.tls",
            ),
        ] {
            let (_, facts) = told(answer);
            let fact = facts.get(DATABASE_READY).unwrap();
            assert_eq!((fact.holds, fact.reason.as_str()), (false, reason));
            assert!(fact.message.contains(message), "{}", fact.message);
        }
    }
}
