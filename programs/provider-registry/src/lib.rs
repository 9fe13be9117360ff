//! ProviderRegistry on Solana: who sells inference, where, and at what prices; the same verbs as `contracts/src/ProviderRegistry.sol`.
//! Accounts, instructions, events and why: docs/adr/014-marketplace.md.
//!
//! No admin, no pause (I-9); the program is to be deployed final. Reading order: `instructions/` a verb a file, `content` what is published.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]
// What Anchor's macros generate.
#![allow(deprecated, missing_docs, clippy::diverging_sub_expression)]

use anchor_lang::prelude::*;

pub mod content;
pub mod errors;
pub mod events;
pub mod instructions;
pub mod seeds;
pub mod state;
pub mod typed_data;

use content::Content;
use instructions::*;

// The id of fixtures and tests; its key is public (docs/adr/014-marketplace.md). Real deployments set their own for the build.
declare_id!(Pubkey::from_str_const(match option_env!("PROVIDER_REGISTRY_PROGRAM_ID") {
    Some(id) => id,
    None => "8Aj6GNmCi6jUmd8qecLKhmmiWUB8Xso6Zoyxyz9m5tJp",
}));

#[cfg(not(feature = "no-entrypoint"))]
solana_security_txt::security_txt! {
    name: "ProviderRegistry",
    project_url: env!("PROJECT_URL"),
    contacts: "other:a private security advisory in the repository, see SECURITY.md",
    policy: "SECURITY.md in the repository",
    preferred_languages: "en"
}

/// The verbs. Discriminators are one byte.
#[program]
pub mod provider_registry {
    use super::*;

    /// Registers a provider.
    #[instruction(discriminator = [1])]
    pub fn register(ctx: Context<Register>, content: Content) -> Result<()> {
        Register::process(ctx, content)
    }

    /// Replaces a provider's content, as its next version.
    #[instruction(discriminator = [2])]
    pub fn update(ctx: Context<Update>, content: Content) -> Result<()> {
        Update::process(ctx, content)
    }

    /// Takes a provider out of the market, for good.
    #[instruction(discriminator = [3])]
    pub fn retire(ctx: Context<Retire>) -> Result<()> {
        Retire::process(ctx)
    }
}
