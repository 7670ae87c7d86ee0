//! The tenant's REST front end: uploads, messages, ledger and reads
