//! Servers, faults and assertions that the tests share
