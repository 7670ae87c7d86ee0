//! What RabbitMQ alone does.

mod consuming;
mod dead_letters;
mod isolation;
mod proxy;
mod queues;
mod tenancy;
