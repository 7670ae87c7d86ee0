use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::validate::validate;
use super::*;

fn coredms(profile: &str) -> ValidatedCoreDms {
    declared(json!({"storage": {"size": "1Gi"}, "profile": profile}))
}

fn declared(spec: Value) -> ValidatedCoreDms {
    let coredms: CoreDms = serde_json::from_value(json!({
        "metadata": {
            "name": "coredms", "namespace": "tenant-a", "uid": "u-1",
            "labels": {"simbdp.dev/tenant": "a"},
        },
        "spec": spec,
    }))
    .unwrap();
    validate(&coredms).unwrap()
}

fn platform() -> Platform {
    Platform {
        namespace: "simbdp-system".into(),
        own: OwnImage {
            image: "r/simbdp:1".into(),
            pull_policy: "IfNotPresent".into(),
        },
        repository: "r/cassandra".into(),
        version: "0.1.0".into(),
    }
}

fn fresh(text: &str) -> Fresh {
    Fresh {
        password: text.into(),
        keyfile: format!("{text}keyfile"),
    }
}

fn prepared(profile: &str) -> Resources<Prepared> {
    build(&coredms(profile), &platform(), fresh("generated"), 3)
}

fn text(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

fn whole(resources: &Resources<Prepared>) -> Vec<Value> {
    let Resources {
        account,
        config,
        superuser,
        network,
        service,
        budget,
        members,
        state: PhantomData,
    } = resources;
    assert!(network.is_none(), "the tenant's own policies say who");
    vec![
        text(account),
        text(config),
        text(superuser),
        text(service),
        text(budget),
        text(members),
    ]
}

#[test]
fn development() {
    insta::assert_yaml_snapshot!(whole(&prepared("Development")));
}

#[test]
fn production() {
    insta::assert_yaml_snapshot!(whole(&prepared("Production")));
}

#[test]
fn mongodb() {
    let declared = declared(json!({
        "engine": "MongoDB", "version": "8.0", "storage": {"size": "100Gi"}, "profile": "Production",
    }));
    insta::assert_yaml_snapshot!(whole(&build(&declared, &platform(), fresh("generated"), 3)));
}

#[test]
fn one_more_member_changes_nothing_for_the_others() {
    let of = |replicas: u16| {
        let spec =
            json!({"storage": {"size": "1Gi"}, "profile": "Development", "replicas": replicas});
        build(&declared(spec), &platform(), fresh("generated"), replicas)
    };
    let (three, four) = (of(3), of(4));
    let template =
        |resources: &Resources<Prepared>| resources.members.spec.clone().unwrap().template;
    assert_eq!(template(&three), template(&four));
    let (three, four) = (three.config.data.unwrap(), four.config.data.unwrap());
    assert!(three.iter().all(|(name, text)| four[name] == *text));
    assert_eq!(four.len(), three.len() + 1);
}

#[test]
fn a_person_s_word_restarts_the_members() {
    let annotations = |at: &str| {
        let mut asked = coredms("Production");
        let annotation = (labels::RESTARTED_AT.to_owned(), at.to_owned());
        asked.object.metadata.annotations = Some([annotation].into());
        let built = build(&asked, &platform(), fresh("generated"), 3);
        built
            .members
            .spec
            .unwrap()
            .template
            .metadata
            .unwrap()
            .annotations
    };
    assert_ne!(
        annotations("2026-01-01T00:00:00Z"),
        annotations("2026-01-02T00:00:00Z")
    );
}

#[test]
fn members_outside_of_a_tenant_s_namespace_are_reached_by_those_who_have_places() {
    let policy = |claims: Value| {
        let coredms: CoreDms = serde_json::from_value(json!({
            "metadata": {"name": "shared-1", "namespace": "simbdp-system", "uid": "u-1"},
            "spec": {"storage": {"size": "1Gi"}, "maxTenants": 2, "claims": claims},
        }))
        .unwrap();
        let valid = validate(&coredms).unwrap();
        text(
            &build(&valid, &platform(), fresh("generated"), 3)
                .network
                .unwrap(),
        )
    };
    insta::assert_yaml_snapshot!(policy(json!([{"tenant": "a"}, {"tenant": "b"}])));
    let nobody = &policy(json!([]))["spec"]["ingress"][0]["from"];
    assert_eq!(
        nobody.as_array().unwrap().len(),
        1,
        "the operator alone: {nobody}"
    );
}

#[test]
fn what_retain_keeps_has_no_owner() {
    let resources = prepared("Production");
    assert!(resources.superuser.metadata.owner_references.is_none());
    let claims = resources
        .members
        .spec
        .unwrap()
        .volume_claim_templates
        .unwrap();
    assert!(claims[0].metadata.owner_references.is_none());
}

#[test]
fn the_first_member_alone_is_its_own_seed() {
    let config = prepared("Production").config.data.unwrap();
    for ordinal in 0..3 {
        let own = format!("coredms-{ordinal}");
        let yaml: Value =
            serde_yaml::from_str(&config[&format!("coredms-{ordinal}.yaml")]).unwrap();
        let seeds = yaml["seed_provider"][0]["parameters"][0]["seeds"]
            .as_str()
            .unwrap();
        assert_eq!(seeds == own, ordinal == 0, "{seeds}");
        assert_eq!(seeds.contains(&own), ordinal == 0, "{seeds}");
    }
}

#[test]
fn members_that_join_together_have_tokens_that_differ() {
    let config = prepared("Development").config.data.unwrap();
    let mut tokens = BTreeSet::new();
    for ordinal in 0..3 {
        let yaml: Value =
            serde_yaml::from_str(&config[&format!("coredms-{ordinal}.yaml")]).unwrap();
        let own = yaml["initial_token"].as_str().unwrap();
        tokens.extend(own.split(',').map(|token| token.parse::<i64>().unwrap()));
    }
    assert_eq!(tokens.len(), 12);
    let places: Vec<_> = tokens.into_iter().collect();
    let gaps: BTreeSet<_> = places
        .windows(2)
        .map(|pair| (pair[1] - pair[0]) >> 8)
        .collect();
    assert_eq!(gaps.len(), 1, "evenly: {places:?}");
}

#[test]
fn a_changed_configuration_rolls_the_members_and_a_changed_password_does_not() {
    let digest = |resources: &Resources<Prepared>| {
        let spec = resources.members.spec.clone().unwrap();
        spec.template.metadata.unwrap().annotations.unwrap()[labels::CONFIG_DIGEST].clone()
    };
    let one = digest(&prepared("Production"));
    assert_ne!(one, digest(&prepared("Development")));
    assert_eq!(
        one,
        digest(&build(
            &coredms("Production"),
            &platform(),
            fresh("other"),
            3
        ))
    );
}
