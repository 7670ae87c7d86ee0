//! Messages that a tenant's own client publishes: with any client of AMQP, without our headers.

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use simbdp_api::wire::work::headers;
use simbdp_broker::queue::HeaderValue;

use super::channel;
use crate::support::{Kind, Tenant, server, soon, take};

#[tokio::test]
async fn a_direct_message_has_the_same_identity_at_each_delivery() {
    let server = server(Kind::RabbitMq).await;
    let tenant = Tenant::new(&server).await;
    let (_connection, channel) = channel(&tenant.connection).await.unwrap();
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    confirms.await.unwrap();
    let published = channel.basic_publish(
        "".into(),
        tenant.queues.queue.as_str().into(),
        BasicPublishOptions::default(),
        b"{\"n\":1}",
        // A time that the client forged is not what counts.
        BasicProperties::default()
            .with_message_id("order-7".into())
            .with_timestamp(5),
    );
    let confirmed = soon(published.await.unwrap()).await.unwrap();
    assert!(confirmed.is_ack(), "{confirmed:?}");

    let mut seen = Vec::new();
    for returns in 0..2 {
        let mut consumer = tenant.consumer(1);
        let delivery = take(&mut consumer).await;
        assert_eq!(delivery.returns, returns);
        assert_eq!(&delivery.message.body[..], b"{\"n\":1}");
        seen.push(delivery.message);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].id, "order-7");
    let header = |name: &str| {
        let mut headers = seen[0].headers.iter();
        headers
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
            .unwrap()
    };
    let source = HeaderValue::Text("direct:order-7".into());
    assert_eq!(header(headers::SOURCE), source);
    assert_eq!(header(headers::ORDINAL), HeaderValue::Long(0));
    assert!(
        matches!(header(headers::VERSION), HeaderValue::Long(version) if version > 1_700_000_000_000_000)
    );
}
