//! Shapes that the programs exchange: mounted configuration, queue messages, REST bodies.

pub mod config;
pub mod dead_letters;
pub mod internal;
pub mod isolation;
pub mod rest;
pub mod wake;
pub mod work;
