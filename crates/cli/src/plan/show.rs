//! A plan as people read it, and as rows for spreadsheets [pure].

use comfy_table::{Table, presets};
use serde_json::Value;
use simbdp_operator::plan::report::{Action, Change, Item, Refuser, Summary};
use simbdp_operator::plan::{Plan, Section};

use crate::output::Grid;

/// Longest text of a value in a line.
const LONGEST: usize = 60;

/// The whole plan, with the sum as its last line.
pub fn text(plan: &Plan) -> String {
    let mut lines: Vec<String> = plan.documents.iter().flat_map(section).collect();
    lines.push(summary(&plan.summary));
    lines.join("\n")
}

fn section(section: &Section) -> Vec<String> {
    let what = match section.action {
        Action::Create => "is created",
        Action::Change => "is changed",
        Action::None => "stays as it is",
        Action::Delete => "is deleted",
        Action::Refuse => "is refused",
        Action::Skip => "is left out",
    };
    let own = name(section.namespace.as_deref(), &section.name);
    let mut lines = vec![format!("{} {own} {what}", section.kind)];
    for refusal in &section.refused {
        let by = match refusal.by {
            Refuser::ApiServer => "the API server refuses it".to_owned(),
            Refuser::Operator => format!("the operator would refuse it ({})", refusal.reason),
        };
        lines.push(format!("  {by}: {}", refusal.message));
    }
    group(&mut lines, "create", rows(&section.create));
    group(
        &mut lines,
        "change",
        section.change.iter().map(changed).collect(),
    );
    group(&mut lines, "restart", rows(&section.restart));
    group(&mut lines, "remove", rows(&section.remove));
    group(&mut lines, "lose for good", rows(&section.lose));
    group(&mut lines, "keep", rows(&section.keep));
    lines.extend(section.notes.iter().map(|note| format!("  note: {note}")));
    lines.push(String::new());
    lines
}

fn group(lines: &mut Vec<String>, title: &str, rows: Vec<[String; 3]>) {
    if rows.is_empty() {
        return;
    }
    lines.push(format!("  {title}"));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for row in rows {
        table.add_row(row);
    }
    let text = table.trim_fmt();
    lines.extend(text.lines().map(|line| format!("    {}", line.trim_end())));
}

fn rows(items: &[Item]) -> Vec<[String; 3]> {
    let row = |item: &Item| {
        [
            item.kind.clone(),
            name(item.namespace.as_deref(), &item.name),
            item.detail.clone().unwrap_or_default(),
        ]
    };
    items.iter().map(row).collect()
}

fn changed(change: &Change) -> [String; 3] {
    let how = match (&change.from, &change.to) {
        (None, None) => format!("{}: its content follows, and is not shown", change.path),
        (from, to) => format!("{}: {} → {}", change.path, short(from), short(to)),
    };
    let own = name(change.namespace.as_deref(), &change.name);
    [change.kind.clone(), own, how]
}

fn name(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

fn short(value: &Option<Value>) -> String {
    let text = match value {
        None => return "nothing".to_owned(),
        Some(Value::String(text)) => text.replace('\n', " "),
        Some(value) => value.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The last line.
fn summary(sum: &Summary) -> String {
    let mut parts = vec![
        format!("{} to create", sum.create),
        format!("{} to change", sum.change),
        format!("{} to remove", sum.remove),
    ];
    if sum.restart > 0 {
        parts.insert(2, format!("{} to restart", sum.restart));
    }
    match sum.volumes {
        0 => {}
        1 => parts.push("1 volume with its data lost".to_owned()),
        many => parts.push(format!("{many} volumes with their data lost")),
    }
    match sum.lose - sum.volumes {
        0 => {}
        others if sum.volumes > 0 => parts.push(format!("{others} more things lost")),
        1 => parts.push("1 thing lost".to_owned()),
        others => parts.push(format!("{others} things lost")),
    }
    match sum.refused {
        0 => {}
        1 => parts.push("1 document refused".to_owned()),
        many => parts.push(format!("{many} documents refused")),
    }
    format!("Plan: {}.", parts.join(", "))
}

/// A row for everything.
pub fn grid(plan: &Plan) -> Grid {
    let header = ["document", "effect", "kind", "namespace", "name", "detail"];
    let mut grid = Grid::new(header);
    for section in &plan.documents {
        let document = format!(
            "{} {}",
            section.kind,
            name(section.namespace.as_deref(), &section.name)
        );
        let mut row = |effect: &str, item: &Item| {
            grid.rows.push(vec![
                document.clone(),
                effect.to_owned(),
                item.kind.clone(),
                item.namespace.clone().unwrap_or_default(),
                item.name.clone(),
                item.detail.clone().unwrap_or_default(),
            ]);
        };
        for refusal in &section.refused {
            row("refuse", &section.item().with(refusal.message.clone()));
        }
        for (effect, items) in [
            ("create", &section.create),
            ("restart", &section.restart),
            ("remove", &section.remove),
            ("lose", &section.lose),
            ("keep", &section.keep),
        ] {
            items.iter().for_each(|item| row(effect, item));
        }
        for change in &section.change {
            let [_, _, how] = changed(change);
            let item = Item::object(&change.kind, change.namespace.as_deref(), &change.name);
            row("change", &item.with(how));
        }
    }
    grid
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use simbdp_operator::plan::parse;
    use simbdp_operator::plan::report::Place;

    use super::*;

    fn plan() -> Plan {
        let text = "{apiVersion: simbdp.dev/v1alpha1, kind: Tenant, metadata: {name: acme}}";
        let mut one = Section::of(&parse(text, "default").unwrap()[0]);
        one.action = Action::Change;
        let claim = Item::object("PersistentVolumeClaim", Some("tenant-acme"), "data-0");
        one.lose.push(claim.with("1Gi"));
        one.create
            .push(Item::new(Place::Broker, "Queue", "ingest.p"));
        for (path, from, to) in [
            ("spec.quota.pods", Some(json!(1)), Some(json!(2))),
            ("data[users.json]", None, None),
        ] {
            one.change.push(Change {
                kind: "Tenant".into(),
                namespace: None,
                name: "acme".into(),
                path: path.into(),
                from,
                to,
            });
        }
        one.note("be careful");
        Plan::of(vec![one])
    }

    #[test]
    fn a_plan_is_read_by_groups_and_ends_with_its_sum() {
        let text = text(&plan());
        let expected = "\
Tenant acme is changed
  create
    Queue ingest.p
  change
    Tenant acme spec.quota.pods: 1 → 2
    Tenant acme data[users.json]: its content follows, and is not shown
  lose for good
    PersistentVolumeClaim tenant-acme/data-0 1Gi
  note: be careful

Plan: 1 to create, 1 to change, 0 to remove, 1 volume with its data lost.";
        let squeezed = |text: &str| {
            let line = |line: &str| {
                let indent = line.len() - line.trim_start().len();
                let words: Vec<_> = line.split_whitespace().collect();
                format!("{}{}", " ".repeat(indent.min(4)), words.join(" "))
            };
            text.lines().map(line).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(squeezed(&text), expected, "{text}");
    }

    #[test]
    fn each_thing_is_a_row_of_the_spreadsheet() {
        let effects: Vec<_> = grid(&plan())
            .rows
            .iter()
            .map(|row| row[1].clone())
            .collect();
        assert_eq!(effects, ["create", "lose", "change", "change"]);
    }

    #[test]
    fn long_values_are_cut_and_lines_joined() {
        let long = Some(json!("a\n".repeat(100)));
        assert!(short(&long).chars().count() == LONGEST + 1 && !short(&long).contains('\n'));
    }
}
