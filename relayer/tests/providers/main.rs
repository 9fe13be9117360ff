//! Providers, against servers that speak the real wire format, faults included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod local;
mod media;
mod openai;
mod parsing;
mod replicate;
mod replicate_faults;
mod streaming;
mod world;
