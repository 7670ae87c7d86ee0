//! Dead letters of real brokers are looked at, removed and given back.

use simbdp_broker::DeadLetterReader;
use simbdp_broker::dead_letters::{DeadLetter, DeadLetterError};

use crate::support::{Kind, Tenant, each_broker, message, server, soon, take, until};

each_broker!(
    letters_that_were_looked_at_are_there_as_before,
    letters_are_removed_in_any_order_and_never_come_back,
    however_many_are_removed_at_once_none_comes_back,
    a_reader_that_dies_gives_back_every_letter_that_it_did_not_remove,
    a_letter_that_is_put_back_is_the_same_message,
    letters_of_an_empty_queue_are_none,
    a_queue_that_is_not_there_and_a_broker_that_is_not_are_told,
);

/// Puts letters into the dead-letter queue.
pub async fn bury(tenant: &Tenant, numbers: impl IntoIterator<Item = u64>) {
    let letters = numbers.into_iter().map(|n| message(&format!("s:{n}")));
    let publisher = tenant.publisher();
    let sent = publisher.publish(&tenant.queues.dead_letter_queue, letters.collect());
    let results = soon(sent).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

/// Reads to the end.
pub async fn read(reader: &mut dyn DeadLetterReader) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    while let Some(letter) = soon(reader.next()).await.unwrap() {
        letters.push(letter);
    }
    letters
}

/// The letters that are there.
pub async fn ids(tenant: &Tenant) -> Vec<String> {
    let mut reader = tenant.open().await;
    let letters = read(&mut *reader).await;
    if tenant.kind == Kind::Kafka {
        assert_eq!(reader.waiting(), letters.len() as u64);
    }
    soon(reader.close()).await.unwrap();
    letters.into_iter().map(|one| one.message.id).collect()
}

pub fn expected(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("s:{n}")).collect()
}

/// Removes the letters at these places of a look, and ends it in order.
pub async fn remove(tenant: &Tenant, places: impl IntoIterator<Item = usize>) {
    let mut reader = tenant.open().await;
    let letters = read(&mut *reader).await;
    let tags: Vec<_> = places.into_iter().map(|n| letters[n].tag).collect();
    soon(reader.remove(&tags)).await.unwrap();
    soon(reader.close()).await.unwrap();
}

async fn letters_that_were_looked_at_are_there_as_before(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    bury(&tenant, 0..70).await;
    for _ in 0..3 {
        assert_eq!(ids(&tenant).await, expected(0..70), "whole and in order");
    }
    let mut reader = tenant.open().await;
    assert_eq!(reader.waiting(), 70);
    let letters = read(&mut *reader).await;
    assert_eq!(letters[3].message, message("s:3"));
    let removed: Vec<_> = letters[..10].iter().map(|letter| letter.tag).collect();
    soon(reader.remove(&removed)).await.unwrap();
    soon(reader.close()).await.unwrap();
    assert_eq!(ids(&tenant).await, expected(10..70));
}

async fn letters_are_removed_in_any_order_and_never_come_back(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    bury(&tenant, 0..40).await;
    remove(&tenant, [39, 5, 7]).await;
    let left = (0..39).filter(|n| ![5, 7].contains(n));
    assert_eq!(ids(&tenant).await, expected(left));
    bury(&tenant, 40..42).await;
    remove(&tenant, [0, 36, 37]).await;
    let left = (1..40).filter(|n| ![5, 7, 38, 39].contains(n));
    assert_eq!(ids(&tenant).await, expected(left.chain([41])));
    let dead = &tenant.queues.dead_letter_queue;
    until(async || tenant.totals(dead).await.ready == 36).await;
    // What gives the disk space of removed letters back takes no other.
    tenant.admin.trim().await.unwrap();
    assert_eq!(ids(&tenant).await.len(), 36);
    remove(&tenant, 0..36).await;
    assert!(ids(&tenant).await.is_empty());
    until(async || tenant.totals(dead).await.ready == 0).await;
}

async fn however_many_are_removed_at_once_none_comes_back(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    bury(&tenant, 0..300).await;
    let mut reader = tenant.open().await;
    let mut tags = Vec::new();
    for _ in 0..299 {
        tags.push(soon(reader.next()).await.unwrap().unwrap().tag);
    }
    soon(reader.remove(&tags)).await.unwrap();
    let last = soon(reader.next()).await.unwrap().unwrap();
    assert_eq!(last.message, message("s:299"), "what was looked at besides");
    soon(reader.close()).await.unwrap();
    assert_eq!(ids(&tenant).await, expected(299..300));
}

async fn a_reader_that_dies_gives_back_every_letter_that_it_did_not_remove(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    bury(&tenant, 0..40).await;
    let mut reader = tenant.open().await;
    let letters = read(&mut *reader).await;
    soon(reader.remove(&[letters[0].tag, letters[39].tag]))
        .await
        .unwrap();
    // No word to the broker: its connection is gone.
    drop(reader);
    let mut left = Vec::new();
    until(async || {
        let mut reader = tenant.open().await;
        let letters = read(&mut *reader).await;
        soon(reader.close()).await.unwrap();
        left = letters.into_iter().map(|one| one.message.id).collect();
        left.len() >= 38
    })
    .await;
    left.sort_by_key(|id| id[2..].parse::<u64>().unwrap());
    assert_eq!(left, expected(1..39));
}

async fn a_letter_that_is_put_back_is_the_same_message(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    bury(&tenant, 0..1).await;
    let mut reader = tenant.open().await;
    let letter = soon(reader.next()).await.unwrap().unwrap();
    let publisher = tenant.publisher();
    let sent = publisher.publish(&tenant.queues.queue, vec![letter.message]);
    assert_eq!(soon(sent).await, [Ok(())]);
    soon(reader.remove(&[letter.tag])).await.unwrap();
    soon(reader.close()).await.unwrap();
    assert!(ids(&tenant).await.is_empty());
    let mut consumer = tenant.consumer(1);
    assert_eq!(take(&mut consumer).await.message, message("s:0"));
}

async fn letters_of_an_empty_queue_are_none(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    let mut reader = tenant.open().await;
    assert_eq!(reader.waiting(), 0);
    for _ in 0..2 {
        assert_eq!(soon(reader.next()).await, Ok(None));
    }
    assert_eq!(soon(reader.remove(&[])).await, Ok(()));
    soon(reader.close()).await.unwrap();
}

async fn a_queue_that_is_not_there_and_a_broker_that_is_not_are_told(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    let letters = tenant.dead_letters();
    let absent = soon(letters.open("ingest.absent.dead")).await.map(drop);
    assert_eq!(
        absent,
        Err(DeadLetterError::NoQueue("ingest.absent.dead".into()))
    );
    let mut nowhere = tenant.connection.clone();
    nowhere.port = 1;
    let source = simbdp_broker::ConnectionSource::fixed(nowhere);
    let letters = crate::support::dead_letters(kind, source);
    let opened = soon(letters.open(&tenant.queues.dead_letter_queue)).await;
    assert!(matches!(
        opened.map(drop),
        Err(DeadLetterError::Unavailable(_))
    ));
}
