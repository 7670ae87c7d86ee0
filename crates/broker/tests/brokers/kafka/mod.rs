//! What Kafka alone does.

mod consuming;
mod dead_letters;
mod direct;
mod isolation;
mod tenancy;
