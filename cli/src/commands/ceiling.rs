//! `ceiling`: raise how much the operator may charge in total (I-2).

use compute_futures_chain::Action;
use compute_futures_protocol::{SpendCeiling, Usdc};
use serde_json::json;

use super::sponsored::post;
use crate::args::CeilingArgs;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{ceiling_text, facts};

pub(super) async fn run(context: &Context, args: CeilingArgs) -> Outcome<()> {
    let account = context.account(&args.account).await?;
    if args.sign {
        let key = context.key()?;
        let ceiling = SpendCeiling { account_id: account, ceiling: args.ceiling };
        let signature = key.signer.sign(ceiling.digest(&context.domain()?));
        let result = json!({ "accountId": account, "ceiling": args.ceiling, "signature": signature, "signer": key.signer.address() });
        context.output.result(&result, || signature.to_string());
        return Ok(());
    }
    let present = context.open(account).await?.state.ceiling;
    if args.ceiling <= present {
        return Err(Failure::new(
            "ceiling_not_raised",
            format!("the ceiling is {} and only rises", ceiling_text(present)),
            if present >= Usdc::MAX { "there is nothing to raise".into() } else { format!("name more than {present}") },
        ));
    }
    let done = post(context, &Action::RaiseCeiling { account, ceiling: args.ceiling }, args.sponsored).await?;
    let mut result = done.json();
    result["accountId"] = json!(account);
    result["ceiling"] = json!(args.ceiling);
    context.output.result(&result, || {
        facts([
            ("ceiling", format!("{present} → {}", ceiling_text(args.ceiling))),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
}
