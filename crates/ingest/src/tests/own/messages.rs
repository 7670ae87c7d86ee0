//! Messages through a program: each is answered by its id, and what makes the program fail is found and condemned alone.

use simbdp_api::app::AppOutput;
use simbdp_api::wire::work::headers;
use simbdp_broker::queue::HeaderValue;
use simbdp_coredms::ledger::Totals;
use simbdp_coredms::store::StoreError;

use super::rig::{Program, a_short_time};
use crate::shutdown::Shutdown;
use crate::tests::fakes::{FakeTable, has_key};
use crate::tests::rig::{VERSION, World, header, message};

const ROWS: &str = "print(json.dumps({'id':m['id'],'rows':[r]}),flush=True)";

fn dead(world: &World) -> Vec<(String, String, HeaderValue)> {
    let text = |value: &HeaderValue| match value {
        HeaderValue::Text(text) => text.clone(),
        other => format!("{other:?}"),
    };
    let dead = world.queue.dead();
    let mut dead: Vec<_> = dead
        .iter()
        .map(|one| {
            let reason = text(header(one, headers::REASON));
            (
                one.id.clone(),
                reason,
                header(one, headers::ATTEMPTS).clone(),
            )
        })
        .collect();
    dead.sort_by(|a, b| a.0.cmp(&b.0));
    dead
}

#[tokio::test]
async fn rows_that_it_prints_are_checked_and_written_like_messages() {
    let world = World::new(Vec::new());
    world.put_things(0..300);
    world
        .queue
        .put(message("s:400", r#"{"name": "no id"}"#, 400), 0);
    world.queue.put(message("s:401", "[1]", 401), 0);
    let program = Program::python(AppOutput::Rows, ROWS);
    program.ingest_messages(&world).await;
    assert_eq!(world.table.len(), 300);
    assert_eq!(world.table.row("7").unwrap().version, VERSION + 7);
    let dead = dead(&world);
    assert_eq!(dead.len(), 2);
    assert!(dead[0].1.contains("of what the app printed"), "{dead:?}");
    assert!(dead[1].1.contains("no JSON object"), "{dead:?}");
    assert_eq!(
        world.ledger.sum(),
        Totals {
            rows: 300,
            rejected: 2
        }
    );
    let text = program.metrics.text().unwrap();
    assert!(
        text.contains("simbdp_ingest_app_starts_total{tenant=\"t\",pipeline=\"p\"} 1"),
        "{text}"
    );
    program.end().await;
}

#[tokio::test]
async fn one_that_writes_by_itself_acknowledges_by_id_and_refuses_by_reason() {
    let world = World::new(Vec::new());
    world.put_things(0..50);
    let each = "if r['id']==13: print(json.dumps({'id':m['id'],'error':'unlucky'}),flush=True)
else: print(m['id'],flush=True)";
    let program = Program::python(AppOutput::None, each);
    program.ingest_messages(&world).await;
    assert_eq!(world.table.len(), 0);
    assert_eq!(
        dead(&world),
        [("s:13".into(), "unlucky".into(), HeaderValue::Long(1))]
    );
    assert_eq!(
        world.ledger.sum(),
        Totals {
            rows: 49,
            rejected: 1
        }
    );
    program.end().await;
}

#[tokio::test]
async fn a_message_may_become_many_rows_or_none() {
    let world = World::new(Vec::new());
    world.put_things(0..3);
    let each = "rows=[{'id':r['id']*10+i,'name':'x'} for i in range(r['id'])]
print(json.dumps({'id':m['id'],'rows':rows}),flush=True)";
    let program = Program::python(AppOutput::Rows, each);
    program.ingest_messages(&world).await;
    assert_eq!(world.table.len(), 3);
    assert_eq!(world.table.row("21").unwrap().version, VERSION + 2);
    program.end().await;
}

#[tokio::test]
async fn answers_may_come_in_any_order() {
    let world = World::new(Vec::new());
    world.put_things(0..40);
    let each = "held=globals().setdefault('held',[]); held.append(m)
while len(held)==10: [print(json.dumps({'id':x['id'],'rows':[x['record']]})) for x in reversed(held)]; held.clear(); sys.stdout.flush()";
    let program = Program::python(AppOutput::Rows, each);
    program.ingest_messages(&world).await;
    assert_eq!(world.table.len(), 40);
    program.end().await;
}

/// Gives a program 20 messages, with one of which it does what it should not. All others must end well.
async fn misbehaves(bad: &str, edit: impl FnOnce(&mut Program)) -> String {
    let world = World::new(Vec::new());
    world.put_things(0..20);
    let each = format!("if r['id']==13:\n  print('at 13',file=sys.stderr)\n  {bad}\nelse: {ROWS}");
    let mut program = Program::python(AppOutput::Rows, &each);
    edit(&mut program);
    let attempts = i64::from(program.max_attempts);
    program.ingest_messages(&world).await;
    program.end().await;
    assert_eq!(world.table.len(), 19);
    let mut dead = dead(&world);
    assert_eq!(dead.len(), 1, "{dead:?}");
    let (id, reason, counted) = dead.remove(0);
    assert_eq!(
        (id.as_str(), counted),
        ("s:13", HeaderValue::Long(attempts))
    );
    assert!(reason.contains("its last lines: at 13"), "{reason}");
    reason
}

#[tokio::test]
async fn one_that_fails_with_a_message_has_its_attempts_and_its_last_lines_are_the_reason() {
    let reason = misbehaves("sys.exit(3)", |_| ()).await;
    assert_eq!(reason, "the app exited with code 3; its last lines: at 13");
}

#[tokio::test]
async fn one_that_dies_takes_no_other_message_with_it() {
    let reason = misbehaves("os.kill(os.getpid(),9)", |_| ()).await;
    assert!(reason.contains("was ended by signal 9"), "{reason}");
}

#[tokio::test]
async fn one_that_hangs_with_a_message_is_ended_in_time() {
    let reason = misbehaves("time.sleep(1000)", a_short_time).await;
    assert!(reason.contains("did not answer within 5 s"), "{reason}");
}

#[tokio::test]
async fn one_that_passes_over_a_message_is_found_by_its_oldest() {
    let reason = misbehaves("pass", a_short_time).await;
    assert!(reason.contains("did not answer within 5 s"), "{reason}");
}

#[tokio::test]
async fn one_that_ignores_signals_is_killed() {
    let bad = "signal.signal(signal.SIGTERM,signal.SIG_IGN); time.sleep(1000)";
    let reason = misbehaves(bad, a_short_time).await;
    assert!(reason.contains("did not answer"), "{reason}");
}

#[tokio::test]
async fn one_that_answers_what_it_never_got_fails_its_message() {
    let reason = misbehaves("print('s:999',flush=True)", |_| ()).await;
    assert!(
        reason.contains("printed `s:999`, which is no id of a message"),
        "{reason}"
    );
    let twice = "print(json.dumps({'id':m['id'],'rows':[]}),flush=True)";
    let world = World::new(Vec::new());
    world.put_things(0..20);
    let each = format!("{ROWS}\nif r['id']==13: {twice}");
    let program = Program::python(AppOutput::Rows, &each);
    program.ingest_messages(&world).await;
    assert_eq!(world.table.len(), 20, "the first answer counts");
    program.end().await;
}

#[tokio::test]
async fn one_that_prints_garbage_or_floods_fails_its_message() {
    let garbage = "sys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush(); time.sleep(1000)";
    assert!(misbehaves(garbage, |_| ()).await.contains("not UTF-8"));
    let flood = "
  while 1: sys.stdout.write('x'*65536)";
    let reason = misbehaves(flood, |_| ()).await;
    assert!(
        reason.contains("printed a line of more than 4096 bytes"),
        "{reason}"
    );
}

#[tokio::test]
async fn one_that_reads_nothing_more_but_answers_fails_what_it_has_not_answered() {
    let reason = misbehaves("os.close(0); time.sleep(1000)", a_short_time).await;
    assert!(reason.contains("did not answer within 5 s"), "{reason}");
}

#[tokio::test]
async fn rows_that_the_database_refuses_condemn_their_own_message() {
    let world = World::new(Vec::new()).with_table(|journal| {
        FakeTable::judging(journal, |rows| {
            let bad = has_key(&rows, "13");
            Box::pin(async move {
                match bad {
                    true => Err(StoreError::Permanent("too large".into())),
                    false => Ok(()),
                }
            })
        })
    });
    world.put_things(0..30);
    let program = Program::python(AppOutput::Rows, ROWS);
    program.ingest_messages(&world).await;
    assert_eq!(world.table.len(), 29);
    let dead = dead(&world);
    assert_eq!((dead.len(), dead[0].0.as_str()), (1, "s:13"));
    program.end().await;
}

#[tokio::test]
async fn the_end_of_its_input_is_the_sign_to_end() {
    let world = World::new(Vec::new());
    world.put_things(0..5);
    let program = Program::shell(
        AppOutput::None,
        "sed -u 's/^{\"id\":\"\\([^\"]*\\)\".*/\\1/'; echo over > $D/over",
    );
    program.ingest_messages(&world).await;
    assert_eq!(program.read("over"), "over\n");
    assert_eq!(
        world.ledger.sum(),
        Totals {
            rows: 5,
            rejected: 0
        }
    );
    program.end().await;
}

#[tokio::test]
async fn a_roll_out_hands_back_what_the_program_has_not_answered() {
    let world = World::new(Vec::new());
    world.put_things(0..20);
    let each = "if r['id']==13: time.sleep(1000)
print(json.dumps({'id':m['id'],'rows':[r]}),flush=True)";
    let program = Program::python(AppOutput::Rows, each);
    let shutdown = Shutdown::new();
    let (app, driver) = program.stream(&world, &shutdown);
    let app = tokio::spawn(async move { tokio::join!(app.run(), driver.run()) });
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(10));
    while world.table.len() < 10 {
        looks.tick().await;
    }
    shutdown.stop();
    shutdown.expire();
    app.await.unwrap();
    assert!(world.queue.dead().is_empty());
    assert!(world.queue.depth() >= 7 && world.queue.unacked() == 0);
    program.end().await;
    let program = Program::python(AppOutput::Rows, ROWS);
    program.ingest_messages(&world).await;
    assert_eq!(world.table.len(), 20);
    program.end().await;
}
