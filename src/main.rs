//! simbdp-operator
fn main() {}
