//! Activation: as many ingest apps as the queues ask for, and none where nothing comes in. One watcher for each Broker
//! looks at all of its queues at once and scales ([`watcher`], on the operator that leads); a gateway that publishes after
//! a pause wakes the pipeline at once ([`wake`], on every operator).

pub mod authority;
pub mod decide;
pub mod quiet;
pub mod scale;
pub mod serve;
pub mod wake;
pub mod watcher;
pub mod workload;
