//! One reader of dead letters of Kafka at a time, and what of them is committed.

use futures::FutureExt;

use crate::dead_letters::{bury, expected, ids, read, remove};
use crate::support::{Kind, Tenant, server, soon, until};

/// The second one waits, and sees what the first has left: also of letters that came meanwhile.
#[tokio::test]
async fn readers_take_turns() {
    let server = server(Kind::Kafka).await;
    let tenant = Tenant::new(&server).await;
    bury(&tenant, 0..30).await;
    let mut first = tenant.open().await;
    let letters = read(&mut *first).await;
    let second = tenant.open();
    tokio::pin!(second);
    // The group changes while the first one removes letters.
    for letter in letters.iter().step_by(2) {
        let tag = [letter.tag];
        tokio::select! {
            _ = &mut second => panic!("two readers at a time"),
            removed = soon(first.remove(&tag)) => removed.unwrap(),
        }
    }
    bury(&tenant, 30..32).await;
    assert!((&mut second).now_or_never().is_none());
    let (closed, mut second) = tokio::join!(soon(first.close()), second);
    closed.unwrap();
    let letters = read(&mut *second).await;
    let left: Vec<String> = letters.into_iter().map(|one| one.message.id).collect();
    assert_eq!(left, expected((1..30).step_by(2).chain([30, 31])));
    soon(second.close()).await.unwrap();
}

/// Whatever is in between is in no text but the one that is committed, and the topic's start follows the front.
#[tokio::test]
async fn letters_that_are_gone_in_the_middle_stay_gone_when_the_front_is_deleted() {
    let server = server(Kind::Kafka).await;
    let tenant = Tenant::new(&server).await;
    bury(&tenant, 0..1_000).await;
    remove(&tenant, (1..1_000).step_by(3)).await;
    let left: Vec<u64> = (0..1_000).filter(|n| n % 3 != 1).collect();
    assert_eq!(ids(&tenant).await, expected(left.clone()));
    remove(&tenant, 0..100).await;
    tenant.admin.trim().await.unwrap();
    let left = || left[100..].iter().copied();
    assert_eq!(ids(&tenant).await, expected(left()));
    let backlogs = tenant.admin.backlogs().await.unwrap();
    let dead = backlogs.get(&tenant.queues.vhost, &tenant.queues.dead_letter_queue);
    assert_eq!(dead.unwrap().ready, left().count() as u64);
}

/// A queue that is made anew counts from its beginning: nothing of it is taken for gone.
#[tokio::test]
async fn a_queue_of_the_same_name_begins_anew() {
    let server = server(Kind::Kafka).await;
    let tenant = Tenant::new(&server).await;
    bury(&tenant, 0..20).await;
    remove(&tenant, [0, 1, 2, 10]).await;
    let queues = &tenant.queues;
    tenant
        .admin
        .delete_queues(&queues.vhost, &queues.queue, &queues.dead_letter_queue)
        .await
        .unwrap();
    tenant.admin.ensure_queues(queues).await.unwrap();
    bury(&tenant, 100..115).await;
    assert_eq!(ids(&tenant).await, expected(100..115));
}

/// Dead letters of a queue that is full find room: the work behind them would wait for ever.
#[tokio::test]
async fn dead_letters_have_no_bound() {
    let server = server(Kind::Kafka).await;
    let mut tenant = Tenant::new(&server).await;
    tenant.limit(1_000).await;
    for n in 0..10 {
        bury(&tenant, n * 10..n * 10 + 10).await;
    }
    until(async || ids(&tenant).await.len() == 100).await;
}
