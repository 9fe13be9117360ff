//! The ways in beside plain HTTP: clients with our scheme, OpenAI's clients through the proxy, MCP clients, the agent skill,
//! and what the README shows. Each against the real binary on a chain of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clients;
mod markdown;
mod mcp;
mod mcp_market;
mod openai;
mod process;
mod readme;
mod skill;
mod speech;
