//! [pure] Messages that a tenant's own client put into its queue: identity and version from what every client can set.

use simbdp_api::wire::work::headers;

use crate::queue::HeaderValue;

/// Their sources begin so. No pipeline's name does, so the gateway's never do.
pub(crate) const PREFIX: &str = "direct:";

/// What tells a message from any other, the same at each delivery.
pub(crate) struct Identity {
    /// Its source, without [`PREFIX`].
    pub(crate) source: String,
    /// Ordinal in it.
    pub(crate) ordinal: i64,
    /// Milliseconds since 1970; its version.
    pub(crate) millis: i64,
}

/// Whether the gateway published it.
pub(crate) fn is_direct(read: &[(String, HeaderValue)]) -> bool {
    !read.iter().any(|(name, _)| *name == headers::SOURCE)
}

/// Gives a direct message the headers that the gateway writes, in place of those that its client forged.
pub(crate) fn identify(read: &mut Vec<(String, HeaderValue)>, identity: Identity) {
    let Identity {
        source,
        ordinal,
        millis,
    } = identity;
    read.retain(|(name, _)| *name != headers::ORDINAL && *name != headers::VERSION);
    let source = HeaderValue::Text(format!("{PREFIX}{source}"));
    let version = HeaderValue::Long(millis.saturating_mul(1_000));
    read.extend([
        (headers::SOURCE.to_owned(), source),
        (headers::ORDINAL.to_owned(), HeaderValue::Long(ordinal)),
        (headers::VERSION.to_owned(), version),
    ]);
}
