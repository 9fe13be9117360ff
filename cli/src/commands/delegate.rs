//! `delegate`: set or clear the session key that may sign spending, never refunds.

use compute_futures_chain::Action;
use serde_json::json;

use super::sponsored::post;
use crate::args::DelegateArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

pub(super) async fn run(context: &Context, args: DelegateArgs) -> Outcome<()> {
    let account = context.account(&args.account).await?;
    let delegate =
        args.delegate.map(|delegate| context.named(delegate)).transpose().map_err(|failure| match failure {
            failure if failure.code == "usage" => Failure { hint: "--clear takes the delegate away".into(), ..failure },
            failure => failure,
        })?;
    let done = post(context, &Action::SetDelegate { account, delegate }, args.sponsored).await?;
    let mut result = done.json();
    result["accountId"] = json!(account);
    result["delegate"] = json!(args.delegate);
    context.output.result(&result, || {
        let delegate = args.delegate.map_or_else(|| "none".into(), |address| address.to_string());
        facts([("delegate", delegate), ("transaction", done.transaction.to_string())])
    });
    Ok(())
}
