//! Tests of the core over HTTP.
