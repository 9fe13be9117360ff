//! The ways in beside plain HTTP: clients with our scheme, OpenAI's clients through the proxy, MCP clients, the agent skill. Each
//! against the real binary on a chain of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clients;
mod mcp;
mod openai;
mod process;
mod skill;
mod speech;
