//! Dead letters of a real broker are looked at, removed and given back.

use simbdp_broker::dead_letters::{DeadLetter, DeadLetterError};
use simbdp_broker::rabbitmq::RabbitDeadLetters;
use simbdp_broker::{DeadLetterReader, DeadLetters, Publisher};

use crate::support::{Tenant, message, server, soon, until};

async fn bury(tenant: &Tenant, count: u64) {
    let letters = (0..count).map(|n| message(&format!("s:{n}"))).collect();
    let publisher = tenant.publisher();
    let results = soon(publisher.publish(&tenant.queues.dead_letter_queue, letters)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

async fn open(tenant: &Tenant) -> Box<dyn DeadLetterReader> {
    let letters = RabbitDeadLetters::new(tenant.source());
    soon(letters.open(&tenant.queues.dead_letter_queue))
        .await
        .unwrap()
}

async fn read(reader: &mut dyn DeadLetterReader) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    while let Some(letter) = soon(reader.next()).await.unwrap() {
        letters.push(letter);
    }
    letters
}

async fn ids(tenant: &Tenant) -> Vec<String> {
    let mut reader = open(tenant).await;
    let letters = read(&mut *reader).await;
    soon(reader.close()).await.unwrap();
    letters.into_iter().map(|one| one.message.id).collect()
}

fn expected(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("s:{n}")).collect()
}

#[tokio::test]
async fn letters_that_were_looked_at_are_there_as_before() {
    let server = server().await;
    let tenant = Tenant::new(&server).await;
    bury(&tenant, 70).await;
    for _ in 0..3 {
        assert_eq!(ids(&tenant).await, expected(0..70), "whole and in order");
    }
    let mut reader = open(&tenant).await;
    assert_eq!(reader.waiting(), 70);
    let letters = read(&mut *reader).await;
    assert_eq!(letters[3].message, message("s:3"));
    // What one reads, another does not see; it is no less there.
    assert!(ids(&tenant).await.is_empty());
    let removed: Vec<_> = letters[..10].iter().map(|letter| letter.tag).collect();
    soon(reader.remove(&removed)).await.unwrap();
    soon(reader.close()).await.unwrap();
    assert_eq!(ids(&tenant).await, expected(10..70));
}

#[tokio::test]
async fn a_reader_that_dies_gives_back_every_letter_that_it_did_not_remove() {
    let server = server().await;
    let tenant = Tenant::new(&server).await;
    bury(&tenant, 40).await;
    let mut reader = open(&tenant).await;
    let letters = read(&mut *reader).await;
    soon(reader.remove(&[letters[0].tag, letters[39].tag]))
        .await
        .unwrap();
    // No word to the broker: its connection is gone.
    drop(reader);
    let mut left = Vec::new();
    until(async || {
        left = ids(&tenant).await;
        left.len() >= 38
    })
    .await;
    left.sort_by_key(|id| id[2..].parse::<u64>().unwrap());
    assert_eq!(left, expected(1..39));
}

#[tokio::test]
async fn a_queue_that_is_not_there_and_a_broker_that_is_not_are_told() {
    let server = server().await;
    let tenant = Tenant::new(&server).await;
    let letters = RabbitDeadLetters::new(tenant.source());
    let absent = soon(letters.open("ingest.absent.dead")).await.map(drop);
    assert_eq!(
        absent,
        Err(DeadLetterError::NoQueue("ingest.absent.dead".into()))
    );
    let mut nowhere = tenant.connection.clone();
    nowhere.port = 1;
    let letters = RabbitDeadLetters::new(simbdp_broker::ConnectionSource::fixed(nowhere));
    let opened = soon(letters.open(&tenant.queues.dead_letter_queue)).await;
    assert!(matches!(
        opened.map(drop),
        Err(DeadLetterError::Unavailable(_))
    ));
}
