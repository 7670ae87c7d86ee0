//! What Kafka alone does.

mod consuming;
mod direct;
mod isolation;
mod tenancy;
