use super::*;

const BATCH: &str = r"
apiVersion: simbdp.dev/v1alpha1
kind: IngestPipeline
metadata: {name: flights, namespace: tenant-acme, generation: 3}
spec:
  batch: {}
  table:
    name: flights
    columns: [{name: id, type: bigint}, {name: at, type: timestamp}, {name: tags, type: list<text>}]
    primaryKey: {partition: [id], clustering: [{column: at}]}
";

/// The pipeline above with one field of its spec changed, by JSON pointer; null removes it.
fn edited(changes: &[(&str, serde_json::Value)]) -> IngestPipeline {
    let mut object: serde_json::Value = serde_yaml::from_str(BATCH).unwrap();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = object["spec"].pointer_mut(parent).unwrap();
        match value {
            serde_json::Value::Null => {
                parent.as_object_mut().unwrap().remove(key);
            }
            value => parent[key] = value.clone(),
        }
    }
    serde_json::from_value(object).unwrap()
}

fn check(
    changes: &[(&str, serde_json::Value)],
    ceilings: &ValidatedCeilings,
) -> Result<ValidatedPipeline, Invalid> {
    let tenant = TenantName::new("acme").unwrap();
    validate(&edited(changes), &tenant, false, ceilings)
}

fn refused(pointer: &str, value: serde_json::Value) -> String {
    check(&[(pointer, value)], &ValidatedCeilings::default())
        .unwrap_err()
        .to_string()
}

use serde_json::json;

#[test]
fn the_smallest_pipelines_are_accepted() {
    let batch = check(&[], &ValidatedCeilings::default()).unwrap();
    assert!(matches!(batch.mode, Mode::Batch(ref c) if c.max_file_size == 1 << 30));
    assert_eq!((batch.generation, batch.bounds.min), (3, 0));
    let stream = check(
        &[("/batch", json!(null)), ("/stream", json!({}))],
        &ValidatedCeilings::default(),
    )
    .unwrap();
    assert_eq!(
        stream.mode,
        Mode::Stream(StreamConstraints {
            max_message_size: 256 << 10
        })
    );
}

#[test]
fn reserved_words_are_good_names_of_columns() {
    let columns = json!([{"name": "select", "type": "int"}, {"name": "table", "type": "text"}]);
    let key = json!({"partition": ["select"]});
    assert!(
        check(
            &[("/table/columns", columns), ("/table/primaryKey", key)],
            &ValidatedCeilings::default()
        )
        .is_ok()
    );
}

#[test]
fn both_or_neither_of_batch_and_stream_are_refused() {
    assert_eq!(
        refused("/stream", json!({})),
        "exactly one of spec.batch and spec.stream must be set, both are: remove one"
    );
    assert!(refused("/batch", json!(null)).contains("none is: add one"));
}

#[test]
fn faults_in_the_table_name_the_column_and_what_would_be_right() {
    for (pointer, value, expected) in [
        (
            "/table/columns",
            json!([{"name": "a", "type": "int"}, {"name": "a", "type": "text"}]),
            "column `a` is declared twice",
        ),
        (
            "/table/columns",
            json!([{"name": "simbdp_source", "type": "int"}]),
            "column `simbdp_source`: names that start with simbdp_",
        ),
        (
            "/table/columns",
            json!([{"name": "id", "type": "bigint", "timeFormat": "%Y"}]),
            "column `id`: timeFormat needs the type",
        ),
        (
            "/table/columns",
            json!([{"name": "id", "type": "date", "timeFormat": "%Q!"}]),
            "column `id`: ",
        ),
        (
            "/table/primaryKey",
            json!({"partition": ["nope"]}),
            "primaryKey names `nope`, which is not in columns",
        ),
        (
            "/table/primaryKey",
            json!({"partition": ["id"], "clustering": [{"column": "nope"}]}),
            "primaryKey names `nope`",
        ),
        (
            "/table/primaryKey",
            json!({"partition": ["id"], "clustering": [{"column": "id"}]}),
            "primaryKey names `id` twice",
        ),
        (
            "/table/primaryKey",
            json!({"partition": ["tags"]}),
            "column `tags` is a list<text> and cannot be in primaryKey",
        ),
        ("/table/ttl", json!("21y"), "`21y` is not a time to live"),
        (
            "/table/ttl",
            json!("8000d"),
            "`8000d` is not a time to live of at most 20 years",
        ),
    ] {
        let message = refused(pointer, value);
        assert!(message.starts_with("spec.table: "), "{message}");
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn faults_in_the_constraints_name_the_field() {
    let message = refused("/batch", json!({"constraints": {"namePattern": "a(b"}}));
    assert!(
        message.contains("spec.batch.constraints.namePattern: "),
        "{message}"
    );
    let message = refused("/batch", json!({"constraints": {"maxFileSize": "0"}}));
    assert!(
        message.starts_with("spec.batch.constraints.maxFileSize: `0`"),
        "{message}"
    );
    let big = check(
        &[
            ("/batch", json!(null)),
            ("/stream", json!({"maxMessageSize": "8193Ki"})),
        ],
        &ValidatedCeilings::default(),
    );
    assert!(
        big.unwrap_err()
            .to_string()
            .contains("is 8193Ki, but a gateway takes messages of at most 8Mi: set 8Mi")
    );
}

#[test]
fn a_schedule_becomes_windows_or_is_refused_with_what_would_be_right() {
    let with = |cron: &str, duration: &str| {
        let schedule = json!({"schedule": {"cron": cron, "duration": duration}});
        check(&[("/batch", schedule)], &ValidatedCeilings::default())
    };
    let valid = with("0 2 * * MON-FRI", "4h").unwrap();
    let Mode::Batch(constraints) = valid.mode else {
        panic!("it is a batch pipeline");
    };
    let schedule = constraints.schedule.unwrap();
    assert_eq!(
        (schedule.cron.as_str(), schedule.seconds),
        ("0 2 * * MON-FRI", 14_400)
    );
    for (cron, duration, part) in [
        (
            "0 2 * *",
            "4h",
            "spec.batch.schedule: `0 2 * *` is not a cron expression",
        ),
        (
            "0 0 30 2 *",
            "4h",
            "spec.batch.schedule: `0 0 30 2 *` never comes",
        ),
        (
            "0 2 * * *",
            "8d",
            "spec.batch.schedule.duration: `8d` is not a length of at most 7 days",
        ),
        ("0 2 * * *", "0h", "write for example 30m, 4h or 1d"),
        ("0 2 * * *", "", "spec.batch.schedule.duration"),
    ] {
        let invalid = with(cron, duration).unwrap_err();
        assert!(invalid.to_string().contains(part), "{invalid}");
        assert_eq!(invalid.reason(), "InvalidSchedule");
    }
}

#[test]
fn a_pipeline_wider_than_a_ceiling_is_refused_with_field_value_and_ceiling() {
    let count = |count, per| Some(FileCount { count, per });
    let ceilings = ValidatedCeilings {
        max_file_size: Some(1 << 20),
        max_files: count(10, Period::Hour),
        formats: Some(vec![Format::Csv]),
    };
    let constraints = |value: serde_json::Value| {
        check(&[("/batch", json!({"constraints": value}))], &ceilings)
            .map_err(|error| error.to_string())
    };
    let narrow = |size: &str, formats: &[&str], count: u32, per: &str| {
        constraints(
            json!({"maxFileSize": size, "formats": formats, "maxFiles": {"count": count, "per": per}}),
        )
    };
    assert!(narrow("1Mi", &["csv"], 10, "Hour").is_ok());
    assert!(narrow("1Mi", &["csv"], 240, "Day").is_ok());
    for (result, expected) in [
        (
            narrow("2Mi", &["csv"], 1, "Hour"),
            "spec.batch.constraints.maxFileSize is 2Mi, but the tenant's ceiling is 1048576 bytes: set 1048576 or less, or leave it out",
        ),
        (
            narrow("1Mi", &["csv", "ndjson"], 1, "Hour"),
            "spec.batch.constraints.formats is [csv, ndjson], but the tenant's ceiling is [csv]: remove ndjson",
        ),
        (
            narrow("1Mi", &["csv"], 11, "Hour"),
            "spec.batch.constraints.maxFiles is 11 per Hour, but the tenant's ceiling is 10 per Hour: set 10 per Hour or less",
        ),
        (
            narrow("1Mi", &["csv"], 241, "Day"),
            "spec.batch.constraints.maxFiles is 241 per Day, but the tenant's ceiling is 10 per Hour: set 240 per Day or less",
        ),
    ] {
        assert_eq!(result.unwrap_err(), expected);
    }
    // The tenant's own count holds for all pipelines together, so it goes along.
    let valid = constraints(json!({"maxFileSize": "1Ki", "formats": ["csv"]})).unwrap();
    assert!(matches!(valid.mode, Mode::Batch(ref c) if c.tenant_max_files == ceilings.max_files));
}

fn with_app(changes: &[(&str, serde_json::Value)]) -> Result<ValidatedPipeline, Invalid> {
    let app = json!({"image": "team/app:1", "command": ["python3", "/app.py"], "args": ["-v"]});
    let mut all = vec![("/app", app)];
    all.extend(changes.iter().cloned());
    check(&all, &ValidatedCeilings::default())
}

#[test]
fn a_program_of_the_tenant_gets_what_is_declared_and_defaults() {
    let smallest = with_app(&[]).unwrap();
    assert_eq!(smallest.max_attempts, 5);
    let app = smallest.app.unwrap();
    assert_eq!(app.command, ["python3", "/app.py", "-v"]);
    assert!(!app.writes_itself());
    assert_eq!(app.config.timeout_seconds, 3_600);
    let needs = app.needs;
    assert_eq!((needs.cpu, needs.cpu_limit), (100, None));
    assert_eq!((needs.memory, needs.memory_limit), (64 << 20, 256 << 20));
    let small = json!({"limits": {"memory": "32Mi", "cpu": "50m"}});
    let needs = with_app(&[("/app/resources", small)])
        .unwrap()
        .app
        .unwrap()
        .needs;
    assert_eq!((needs.cpu, needs.memory), (50, 32 << 20));
    let stream = with_app(&[("/batch", json!(null)), ("/stream", json!({}))]).unwrap();
    assert_eq!(stream.app.unwrap().config.timeout_seconds, 60);
}

#[test]
fn what_is_wrong_with_a_program_is_told_with_its_field() {
    let cases = [
        ("/app/image", json!(" "), "spec.app.image"),
        ("/app/command", json!([]), "spec.app.command"),
        (
            "/app/env",
            json!([{"name": "SIMBDP_TABLE"}]),
            "spec.app.env has `SIMBDP_TABLE`",
        ),
        (
            "/app/env",
            json!([{"name": "SERVICE_BINDING_ROOT"}]),
            "SERVICE_BINDING_ROOT",
        ),
        (
            "/app/resources",
            json!({"limits": {"memory": "8Mi"}}),
            "limits.memory is 8Mi",
        ),
        (
            "/app/resources",
            json!({"limits": {"cpu": "0"}}),
            "app.resources.limits.cpu",
        ),
        (
            "/app/resources",
            json!({"requests": {"memory": "1Gi"}, "limits": {"memory": "512Mi"}}),
            "requests.memory is 1Gi, above its limit 512Mi",
        ),
        (
            "/app/resources",
            json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
            "requests.cpu is 2, above its limit 1",
        ),
        (
            "/app/timeoutSeconds",
            json!(20_000),
            "spec.app.timeoutSeconds (20000) times",
        ),
    ];
    for (pointer, value, expected) in cases {
        let error = with_app(&[(pointer, value)]).unwrap_err();
        assert_eq!(error.reason(), "InvalidApp");
        assert!(error.to_string().contains(expected), "{pointer}: {error}");
    }
}

#[test]
fn numbers_of_ingest_apps_that_cannot_be_kept_are_refused_by_name() {
    for (scaling, part) in [
        (
            json!({"minReplicas": 3, "maxReplicas": 2}),
            "spec.scaling.maxReplicas is 2: set 3 or more",
        ),
        (
            json!({"maxReplicas": 0}),
            "spec.scaling.maxReplicas is 0: set 1 or more",
        ),
        (json!({"targetBacklog": 0}), "spec.scaling.targetBacklog"),
        (
            json!({"cooldownSeconds": 9}),
            "spec.scaling.cooldownSeconds is 9: set 10 or more",
        ),
    ] {
        let refused = refused("/scaling", scaling);
        assert!(refused.contains(part), "{refused}");
    }
    let wide = check(
        &[("/scaling", json!({"minReplicas": 9}))],
        &ValidatedCeilings::default(),
    );
    assert_eq!(wide.unwrap().bounds.max, 9);
}
