//! Every result is the message's own, with either broker.

use futures::future::join_all;
use simbdp_broker::queue::PublishError;

use crate::support::{Kind, Tenant, each_broker, heavy, message, server, soon, take};

each_broker!(
    what_is_confirmed_is_in_the_queue_whole_and_in_order,
    the_depth_is_what_waits_and_an_absent_queue_costs_nothing_else,
    bodies_larger_than_a_frame_and_than_a_chunk_arrive_whole,
    callers_at_a_time_never_get_the_results_of_others,
    a_cancelled_publish_does_not_disturb_the_next,
    a_message_that_amqp_could_not_carry_is_refused_and_the_others_go,
);

async fn what_is_confirmed_is_in_the_queue_whole_and_in_order(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    let sent: Vec<_> = (0..700).map(|n| message(&format!("s:{n}"))).collect();
    let publisher = tenant.publisher();
    let results = soon(publisher.publish(&tenant.queues.queue, sent.clone())).await;
    assert_eq!(results, vec![Ok(()); sent.len()]);
    let mut consumer = tenant.consumer(1_000);
    for message in sent {
        let delivery = take(&mut consumer).await;
        assert_eq!((delivery.message, delivery.returns), (message, 0));
    }
}

async fn the_depth_is_what_waits_and_an_absent_queue_costs_nothing_else(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    let publisher = tenant.publisher();
    let queue = &tenant.queues.queue;
    let sent = vec![message("a:0"), message("a:1"), message("a:2")];
    soon(publisher.publish(queue, sent)).await;
    assert_eq!(soon(publisher.depth(queue)).await, Ok(3));
    let absent = soon(publisher.depth("ingest.absent")).await;
    assert_eq!(absent, Err(PublishError::NoQueue("ingest.absent".into())));
    let mut consumer = tenant.consumer(1);
    take(&mut consumer).await;
    assert_eq!(soon(publisher.depth(queue)).await, Ok(2));
}

async fn bodies_larger_than_a_frame_and_than_a_chunk_arrive_whole(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    let sent: Vec<_> = [0, 1, 131_072, 1 << 20, 3 << 20]
        .iter()
        .map(|bytes| heavy(&bytes.to_string(), *bytes))
        .collect();
    let publisher = tenant.publisher();
    let results = soon(publisher.publish(&tenant.queues.queue, sent.clone())).await;
    assert_eq!(results, vec![Ok(()); sent.len()]);
    let mut consumer = tenant.consumer(10);
    for message in sent {
        assert_eq!(take(&mut consumer).await.message, message);
    }
}

async fn callers_at_a_time_never_get_the_results_of_others(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    let publisher = tenant.publisher();
    let calls = (0..200).map(|n| {
        let publisher = publisher.clone();
        let absent = n % 2 == 0;
        let there = tenant.queues.queue.clone();
        let queue = if absent {
            "ingest.absent".into()
        } else {
            there
        };
        let batch = vec![message(&format!("{n}:0")), message(&format!("{n}:1"))];
        tokio::spawn(async move { (absent, publisher.publish(&queue, batch).await) })
    });
    let results = soon(join_all(calls)).await;
    for result in results {
        let (absent, results) = result.unwrap();
        let no_queue = || Err(PublishError::NoQueue("ingest.absent".into()));
        let expected = if absent { no_queue() } else { Ok(()) };
        assert_eq!(results, vec![expected.clone(), expected]);
    }
    tenant.until_totals(200, 0).await;
}

async fn a_cancelled_publish_does_not_disturb_the_next(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    let publisher = tenant.publisher();
    let queue = tenant.queues.queue.as_str();
    assert_eq!(
        soon(publisher.publish(queue, vec![message("first")])).await,
        vec![Ok(())]
    );
    for n in 0..50 {
        let batch = vec![message(&format!("absent:{n}")); 20];
        let mut cancelled = Box::pin(publisher.publish("ingest.absent", batch));
        // Polled once: the messages are on their way, their returns will come.
        assert!(futures::poll!(&mut cancelled).is_pending());
        drop(cancelled);
        let result = soon(publisher.publish(queue, vec![message(&n.to_string())])).await;
        assert_eq!(result, vec![Ok(())]);
    }
    tenant.until_totals(51, 0).await;
}

async fn a_message_that_amqp_could_not_carry_is_refused_and_the_others_go(kind: Kind) {
    let server = server(kind).await;
    let tenant = Tenant::new(&server).await;
    let publisher = tenant.publisher();
    let batch = vec![message("a"), message(&"x".repeat(300)), message("b")];
    let results = soon(publisher.publish(&tenant.queues.queue, batch)).await;
    assert_eq!(results[0], Ok(()));
    assert!(matches!(&results[1], Err(PublishError::Unavailable(why)) if why.contains("255")));
    assert_eq!(results[2], Ok(()));
}
