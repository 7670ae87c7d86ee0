//! What RabbitMQ alone does.

mod consuming;
mod isolation;
mod proxy;
mod queues;
mod tenancy;
