//! The ingest app: moves staged files and queued messages into the tenant's tables
