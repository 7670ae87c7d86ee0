//! Declarations of tables, good and bad.

use simbdp_record::{RowSchema, SchemaError};

use crate::support::{matches, table};

fn fault(yaml: &str) -> SchemaError {
    RowSchema::new(&table(yaml)).expect_err(yaml)
}

#[test]
fn bad_declarations_are_named() {
    let cases = [
        ("columns: []", "table `t` declares no columns…"),
        ("columns: [{name: A, type: int}]", "`A` is not a name…"),
        ("columns: [{name: '', type: int}]", "`` is not a name…"),
        (
            "columns: [{name: simbdp_x, type: int}]",
            "column `simbdp_x`: names that start with simbdp_…",
        ),
        (
            "columns: [{name: a, type: int}, {name: a, type: text}]",
            "column `a` is declared twice…",
        ),
        (
            "columns: [{name: a, type: int, from: x}, {name: b, type: int, from: x}]",
            "columns `a` and `b` both read the field `x`…",
        ),
        (
            "columns: [{name: a, type: int, timeFormat: '%Y'}]",
            "column `a`: timeFormat needs the type timestamp, date or time, but the type is int",
        ),
        (
            "columns: [{name: a, type: date, timeFormat: '%Y-%m-%!'}]",
            "column `a`: `%Y-%m-%!` is not a strftime format…",
        ),
        (
            "columns: [{name: a, type: date, timeFormat: '%Y-%m'}]",
            "column `a`: `%Y-%m` does not tell a whole date…",
        ),
        (
            "columns: [{name: a, type: time, timeFormat: '%I:%M'}]",
            "column `a`: `%I:%M` does not tell a whole time…",
        ),
        (
            "columns: [{name: a, type: timestamp, timeFormat: '%H:%M'}]",
            "column `a`: `%H:%M` does not tell a whole timestamp…",
        ),
        (
            "columns: [{name: a, type: timestamp, timeFormat: '%Y-%m-%d %H'}]",
            "column `a`: `%Y-%m-%d %H` does not tell a whole timestamp…",
        ),
        (
            "columns: [{name: a, type: timestamp, timeFormat: '%Y-%m-%d %H:%M %Z'}]",
            "column `a`: `%Y-%m-%d %H:%M %Z` has %Z…",
        ),
        (
            "columns: [{name: a, type: int}]\nprimaryKey: {partition: []}",
            "primaryKey.partition names no column…",
        ),
        (
            "columns: [{name: a, type: int}]\nprimaryKey: {partition: [b]}",
            "primaryKey names `b`, which is not in columns",
        ),
        (
            "columns: [{name: a, type: int}]\nprimaryKey: {partition: [a], clustering: [{column: b}]}",
            "primaryKey names `b`…",
        ),
        (
            "columns: [{name: a, type: int}]\nprimaryKey: {partition: [a], clustering: [{column: a}]}",
            "primaryKey names `a` twice…",
        ),
        (
            "columns: [{name: a, type: list<int>}]\nprimaryKey: {partition: [a]}",
            "column `a` is a list<int> and cannot be in primaryKey…",
        ),
        (
            "columns: [{name: a, type: int}]\nttl: 90x",
            "table.ttl: `90x` is not a time to live…",
        ),
        ("columns: [{name: a, type: int}]\nttl: 21y", "table.ttl: …"),
    ];
    for (yaml, wanted) in cases {
        let shown = fault(yaml).to_string();
        assert!(matches(&shown, wanted), "{yaml}: {shown}");
    }
}

#[test]
fn reserved_words_are_names_like_any_other() {
    let schema = RowSchema::new(&table(
        "columns: [{name: select, type: int}, {name: from, type: text, from: FROM, required: true}]\nttl: 2d\nprimaryKey: {partition: [select]}",
    ))
    .unwrap();
    assert_eq!(
        (schema.width(), schema.has_identity(), schema.ttl_seconds()),
        (2, false, Some(172_800))
    );
    assert_eq!(schema.column_of_field("FROM"), Some(1));
    assert_eq!(schema.column_of_field("from"), None);
    let select = schema.column("select").unwrap();
    assert!(select.key() && select.required());
    let fields = schema.fields();
    assert_eq!(
        (
            fields[1].name.as_str(),
            fields[1].column.as_str(),
            fields[1].required
        ),
        ("FROM", "from", true)
    );
}

#[test]
fn no_key_means_identity_columns() {
    let schema = RowSchema::new(&table("columns: [{name: a, type: int}]")).unwrap();
    assert_eq!(
        (schema.width(), schema.has_identity(), schema.ttl_seconds()),
        (4, true, None)
    );
    assert!(!schema.columns()[0].required());
}
