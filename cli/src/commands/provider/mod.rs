//! `provider …`: what is sold, at what price, and what it earned.

mod content;
mod market;

use compute_futures_chain::market::{MarketAction, MarketEvent};
use compute_futures_protocol::market::ProviderContent;
use compute_futures_protocol::{Address, Usdc};
use serde_json::json;

use super::events::post_market;
use super::market::{provider, result_of};
use crate::args::ProviderCommand;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{Report, facts};

pub(crate) use content::{Content, read as read_content};
pub(crate) use market::metrics;

pub(super) async fn run(context: &Context, command: ProviderCommand) -> Outcome<()> {
    let report = match command {
        ProviderCommand::Register { content } => register(context, content::of_file(&content)?).await?,
        ProviderCommand::Update { provider, content } => update(context, provider, content::of_file(&content)?).await?,
        ProviderCommand::Retire { provider } => retire(context, provider).await?,
        ProviderCommand::Show { provider } => show(context, provider).await?,
        ProviderCommand::Withdraw { provider, amount, to } => {
            let to = to.map(|to| context.named(to)).transpose()?;
            withdraw(context, provider, amount, to).await?
        }
        ProviderCommand::Metrics { provider, interval, from, to } => {
            metrics(context, provider, interval, from, to).await?
        }
        ProviderCommand::List(args) => return market::list(context, &args).await,
        ProviderCommand::Serve(args) => return crate::serve::run(context, args).await,
    };
    context.output.report(report);
    Ok(())
}

/// Registers a provider that the key owns.
///
/// # Errors
/// When the registry refuses, or the chain does not answer.
pub(crate) async fn register(context: &Context, content: ProviderContent) -> Outcome<Report> {
    publish(context, MarketAction::Register { content }).await
}

/// Replaces what a provider publishes.
///
/// # Errors
/// As [`register`]; also when the key is not its owner's.
pub(crate) async fn update(context: &Context, provider_id: u32, content: ProviderContent) -> Outcome<Report> {
    publish(context, MarketAction::Update { provider_id, content }).await
}

async fn publish(context: &Context, verb: MarketAction) -> Outcome<Report> {
    let done = post_market(context, verb).await?;
    let (id, version, hash) = done.find(|event| match event {
        MarketEvent::ProviderRegistered { provider_id, version, content_hash, .. }
        | MarketEvent::ProviderUpdated { provider_id, version, content_hash, .. } => {
            Some((*provider_id, *version, *content_hash))
        }
        _ => None,
    })?;
    let mut result = result_of(&done);
    result["providerId"] = json!(id);
    result["version"] = json!(version);
    result["contentHash"] = json!(hash);
    let text = facts([
        ("provider", id.to_string()),
        ("version", version.to_string()),
        ("content", hash.to_string()),
        ("transaction", done.transaction.to_string()),
    ]);
    Ok(Report::new(result, text))
}

/// Takes a provider out of the market, for good.
///
/// # Errors
/// As [`update`].
pub(crate) async fn retire(context: &Context, id: u32) -> Outcome<Report> {
    let done = post_market(context, MarketAction::Retire { provider_id: id }).await?;
    let mut result = result_of(&done);
    result["providerId"] = json!(id);
    let text = facts([("retired", id.to_string()), ("transaction", done.transaction.to_string())]);
    Ok(Report::new(result, text))
}

/// What a provider publishes and has earned, as the chain has it.
///
/// # Errors
/// When there is no such provider, or the chain does not answer.
pub(crate) async fn show(context: &Context, id: u32) -> Outcome<Report> {
    let found = provider(context, id).await?;
    let reader = context.market().await?.reader();
    let (content, earnings) = (reader.provider_content(id).await?, reader.earnings(id).await?);
    let result = json!({
        "providerId": id,
        "owner": found.owner,
        "version": found.version,
        "retired": found.content_hash.is_none(),
        "contentHash": found.content_hash,
        "content": content,
        "earnings": earnings,
    });
    let mut rows = vec![
        ("provider".to_owned(), id.to_string()),
        ("owner".to_owned(), found.owner.to_string()),
        ("earnings".to_owned(), format!("{earnings} USDC, not withdrawn")),
    ];
    match (&content, found.content_hash) {
        (_, None) => rows.push(("retired".to_owned(), "no session can be opened with it".to_owned())),
        (None, Some(hash)) => rows.push(("content".to_owned(), format!("{hash}, which cannot be read"))),
        (Some(content), Some(hash)) => {
            rows.push(("content".to_owned(), format!("version {}, {hash}", found.version)));
            rows.push(("endpoint".to_owned(), content.endpoint.clone()));
            rows.push(("requests a minute".to_owned(), content.rate_limit.to_string()));
            rows.push(("minimum charge".to_owned(), format!("{} USDC", content.minimum_charge)));
            rows.push(("features".to_owned(), content.features.join(", ")));
            rows.extend(content.models.iter().map(|model| {
                let prices = format!(
                    "{} in, {} out (USDC per 1,000 tokens), up to {} tokens",
                    model.input_price, model.output_price, model.max_context
                );
                (model.name.clone(), prices)
            }));
        }
    }
    Ok(Report::new(result, facts(rows)))
}

/// Takes earnings: all of them or `amount`, to `to` or to the key's own address.
///
/// # Errors
/// As [`update`]; also when there is not so much.
pub(crate) async fn withdraw(context: &Context, id: u32, amount: Option<Usdc>, to: Option<Address>) -> Outcome<Report> {
    let to = to.map_or_else(|| context.address(), Ok)?;
    let earned = context.market().await?.reader().earnings(id).await?;
    let amount = amount.unwrap_or(earned);
    if amount.is_zero() || amount > earned {
        provider(context, id).await?;
        return Err(Failure::new(
            "insufficient_earnings",
            format!("provider {id} has {earned} USDC to withdraw"),
            "withdraw more than nothing and at most that",
        ));
    }
    let done = post_market(context, MarketAction::Withdraw { provider_id: id, to, amount }).await?;
    let mut result = result_of(&done);
    result["providerId"] = json!(id);
    result["withdrawn"] = json!(amount);
    result["to"] = json!(to);
    let text = facts([
        ("withdrawn", format!("{amount} USDC")),
        ("to", to.to_string()),
        ("transaction", done.transaction.to_string()),
    ]);
    Ok(Report::new(result, text))
}
