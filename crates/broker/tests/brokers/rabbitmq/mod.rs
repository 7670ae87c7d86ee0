//! What RabbitMQ alone does.

use lapin::{Channel, ConnectionProperties};
use simbdp_broker::Connection;

mod consuming;
mod dead_letters;
mod direct;
mod isolation;
mod proxy;
mod queues;
mod tenancy;

fn uri(connection: &Connection) -> String {
    let address = connection.addresses().join(",");
    let Connection {
        vhost,
        username,
        password,
        ..
    } = connection;
    format!("amqp://{username}:{password}@{address}/{vhost}")
}

/// A channel as any client opens it.
async fn channel(connection: &Connection) -> lapin::Result<(lapin::Connection, Channel)> {
    let connection =
        lapin::Connection::connect(&uri(connection), ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}
