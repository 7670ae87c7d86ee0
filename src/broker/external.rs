//! A broker that the operator does not run: validate [pure] → observe [IO] → status [pure]. Its administrator logs in and asks, and
//! nothing in it is changed here; what tenants need is made by their own controllers.

use simbdp_api::broker::BrokerType;
use simbdp_api::{Broker, BrokerStatus};
use simbdp_broker::admin::AdminError;

use super::credentials::management;
use super::error::{Error, broker_reason};
use super::place::BrokerPlace;
use super::status::default_fact;
use super::validate::Invalid;
use crate::conditions::{Facts, ready, reconciling};
use crate::context::Context;
use crate::login::NoLogin;

/// What was seen of an external broker.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Where it is.
    pub place: BrokerPlace,
    /// What it said: its version.
    pub answer: Result<String, NoAnswer>,
    /// Other Brokers that are marked default.
    pub other_defaults: Vec<String>,
}

/// Why an external broker says nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoAnswer {
    /// It cannot be asked: there is no login.
    NoLogin(NoLogin),
    /// It does not answer as it should.
    Failed(AdminError),
}

impl NoAnswer {
    /// CamelCase, for a condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoLogin(no_login) => no_login.reason(),
            Self::Failed(error) => broker_reason(error),
        }
    }

    /// The broker's words, and what to do.
    pub fn explain(&self, place: &BrokerPlace) -> String {
        match self {
            Self::NoLogin(no_login) => no_login.to_string(),
            Self::Failed(error) => {
                format!("{error}: {}; it is tried again", what_to_do(error, place))
            }
        }
    }
}

fn what_to_do(error: &AdminError, place: &BrokerPlace) -> String {
    let where_it_is = match place.broker_type {
        BrokerType::RabbitMQ => "spec.external.managementUrl",
        BrokerType::Kafka => "spec.external.addresses",
    };
    match error {
        AdminError::LoginRefused { .. } => {
            format!("put the right login into Secret {}", place.secret().0)
        }
        AdminError::Unavailable(_) => format!(
            "see whether it runs, is reached from the operator's namespace, and has {where_it_is}"
        ),
        AdminError::Tls(_) => "see whether spec.external.tls and its trustBundle are as the broker has it, and whether the certificate of each node is for the host that it is reached by".to_owned(),
        AdminError::Refused { .. } => format!(
            "see whether {where_it_is} and spec.type are right, and what the login may do"
        ),
    }
}

/// Where the broker is; [`None`] when the operator runs it.
pub fn validate(broker: &Broker) -> Result<Option<BrokerPlace>, Invalid> {
    let place = BrokerPlace::of(broker);
    let Some(outside) = &place.external else {
        return Ok(None);
    };
    outside.check("broker.example:5672")?;
    // A password is sent to it: as safely as messages are.
    match &place.management {
        Some(url) if place.tls().is_some() && !url.starts_with("https://") => {
            Err(Invalid::ManagementWithoutTls(url.clone()))
        }
        _ => Ok(Some(place)),
    }
}

/// Logs in and asks.
pub async fn observe(
    ctx: &Context,
    broker: &Broker,
    place: BrokerPlace,
    other_defaults: Vec<String>,
) -> Result<Observed, Error> {
    let answer = match management(ctx, broker).await? {
        Err(no_login) => Err(NoAnswer::NoLogin(no_login)),
        Ok(connection) => {
            let asked = async { ctx.broker.connect(&connection).await?.version().await };
            asked.await.map_err(NoAnswer::Failed)
        }
    };
    Ok(Observed {
        place,
        answer,
        other_defaults,
    })
}

/// Status of an external broker. What it said stays while it does not answer.
pub fn status(broker: &Broker, observed: &Observed) -> (BrokerStatus, Facts) {
    let before = broker.status.clone().unwrap_or_default();
    let place = &observed.place;
    let kind = place.broker_type.as_str();
    let (version, mut facts) = match &observed.answer {
        Ok(version) => {
            let message = format!("{kind} {version} answers; the operator does not run it");
            (Some(version.clone()), ready(&message))
        }
        Err(no_answer) => {
            let facts = reconciling(no_answer.reason(), &no_answer.explain(place));
            (before.version, facts)
        }
    };
    facts.extend(default_fact(broker, &observed.other_defaults));
    let status = BrokerStatus {
        version,
        endpoint: place.first_address(),
        ..Default::default()
    };
    (status, Facts::replacing(facts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::READY;

    fn broker(spec: &str) -> Broker {
        serde_yaml::from_str(&format!("{{metadata: {{name: b}}, spec: {spec}}}")).unwrap()
    }

    const PLAIN: &str = "{external: {addresses: ['mq.example:5672'], managementUrl: 'http://mq.example:15672', secretRef: {name: login}}}";

    fn told(answer: Result<String, NoAnswer>) -> (BrokerStatus, Facts) {
        let broker = broker(PLAIN);
        let observed = Observed {
            place: BrokerPlace::of(&broker),
            answer,
            other_defaults: vec![],
        };
        status(&broker, &observed)
    }

    #[test]
    fn where_it_is_must_be_usable_and_as_safe_as_its_messages() {
        assert!(validate(&broker(PLAIN)).unwrap().is_some());
        assert_eq!(validate(&broker("{storage: {size: 1Gi}}")), Ok(None));
        let insecure = PLAIN.replace("secretRef", "tls: {}, secretRef");
        let invalid = validate(&broker(&insecure)).unwrap_err().to_string();
        assert!(invalid.contains("spec.external.managementUrl"), "{invalid}");
        let port = PLAIN.replace("mq.example:5672", "mq.example:0");
        let invalid = validate(&broker(&port)).unwrap_err().to_string();
        assert!(invalid.contains("`mq.example:0`"), "{invalid}");
    }

    #[test]
    fn what_it_says_of_itself_is_its_status() {
        let (status, facts) = told(Ok("4.1.0".into()));
        assert!(facts.get(READY).unwrap().holds);
        assert_eq!(status.version.as_deref(), Some("4.1.0"));
        assert_eq!(status.endpoint.as_deref(), Some("mq.example:5672"));
        assert_eq!(status.nodes, None);
    }

    #[test]
    fn each_way_not_to_answer_says_what_to_do() {
        let failed = |error| Err(NoAnswer::Failed(error));
        let missing = NoLogin::Missing {
            namespace: "n".into(),
            name: "login".into(),
        };
        let refused = AdminError::LoginRefused {
            username: "ada".into(),
        };
        let foreign = AdminError::Refused {
            action: "the call to whoami".into(),
            reason: "HTML".into(),
        };
        for (answer, reason, message) in [
            (
                Err(NoAnswer::NoLogin(missing)),
                "SecretMissing",
                "create it",
            ),
            (failed(refused), "LoginRefused", "Secret login"),
            (
                failed(AdminError::Unavailable("refused".into())),
                "BrokerUnavailable",
                "spec.external.managementUrl",
            ),
            (failed(foreign), "BrokerRefused", "spec.type"),
            (
                failed(AdminError::Tls("it has expired".into())),
                "TlsFailed",
                "spec.external.tls",
            ),
        ] {
            let (_, facts) = told(answer);
            let fact = facts.get(READY).unwrap();
            assert_eq!((fact.holds, fact.reason.as_str()), (false, reason));
            assert!(fact.message.contains(message), "{}", fact.message);
        }
    }
}
