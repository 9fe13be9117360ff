//! `session run`: an inference on a session. The agent's order is the payment; the receipt is checked before the answer is shown,
//! against the order, and against the session and the prices on chain.

use std::io::Read;

use compute_futures_protocol::Usdc;
use compute_futures_protocol::market::{SessionId, SessionReceipt};
use compute_futures_x402::costs_as_published;
use serde_json::{Value, json};

use super::super::market::escrow;
use super::super::run::ReceiptFile;
use crate::client::{ClientError, Relayer, Request, SessionBudget, SessionOffer, SessionPaid, SessionPayer};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;
use crate::session_args::SessionRunArgs;

const PATH: &str = "/api/v1/market/inference";

pub(super) async fn run(context: &Context, args: SessionRunArgs) -> Outcome<()> {
    let prompt = if args.prompt == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Failure::new("usage", format!("standard input: {error}"), "pipe UTF-8 text into it"))?;
        text
    } else {
        args.prompt.clone()
    };
    let mut body = json!({ "model": args.model, "messages": [{ "role": "user", "content": prompt }] });
    if let Some(provider) = args.provider {
        body["providerId"] = json!(provider);
    }
    if let Some(tokens) = args.max_tokens {
        body["maxTokens"] = json!(tokens);
    }
    let inference = Inference { escrow: args.escrow, session: args.session };
    // Before anything is paid: a receipt that cannot be kept is no reason to find out afterwards.
    let file = args.receipt.as_deref().map(ReceiptFile::create).transpose()?;
    let asked = inference.ask(context, body).await?;
    let paid = asked.order(args.max_cost.unwrap_or(asked.price())).await.map_err(in_our_flags)?;
    let done = asked.check(context, paid).await?;
    let (result, paid) = (done.json(), &done.paid);
    context.output.result(&result, || {
        let receipt = &paid.receipt.receipt;
        let prices =
            if done.prices_checked { "at its published prices" } else { "prices have changed since, see above" };
        let rows = [
            ("cost", format!("{} USDC, {prices}", receipt.cost)),
            ("tokens", format!("{} read, {} written", receipt.input_tokens, receipt.output_tokens)),
            ("session", receipt.session_id.to_string()),
            ("receipt", format!("number {} (checked)", receipt.sequence)),
        ];
        format!("{}\n\n{}", paid.text(), facts(rows))
    });
    file.map_or(Ok(()), |file| file.write(&paid.receipt))
}

/// An inference to be ordered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inference {
    /// The escrow that pays.
    pub(crate) escrow: u32,
    /// The session that pays, when it is to be a certain one.
    pub(crate) session: Option<SessionId>,
}

/// An inference that was answered, checked against the chain.
pub(crate) struct Answered {
    pub(crate) paid: SessionPaid,
    /// Whether the prices of its session could be looked up: the provider may publish others by now.
    pub(crate) prices_checked: bool,
}

impl Answered {
    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let mut result = self.paid.answer.body.clone();
        result["receiptChecked"] = json!(true);
        result["pricesChecked"] = json!(self.prices_checked);
        result
    }
}

/// An inference with its price, not ordered yet.
pub(crate) struct Asked {
    payer: SessionPayer,
    relayer: Relayer,
    request: Request,
    offer: SessionOffer,
}

impl Inference {
    /// Asks what it costs at most; nothing is signed. `body` is what the relayer is asked, without network and session.
    ///
    /// # Errors
    /// What was refused, by whom, and what to do.
    pub(crate) async fn ask(&self, context: &Context, mut body: Value) -> Outcome<Asked> {
        let (payer, relayer) = (self.payer(context).await?, context.relayer()?);
        body["network"] = json!(context.chain().caip2());
        if let Some(session) = self.session {
            body["sessionId"] = json!(session);
        }
        let request = Request::post(PATH, &body);
        let offer = payer.offer(&relayer, &request).await?;
        Ok(Asked { payer, relayer, request, offer })
    }

    /// The agent, trusting the meter that its session or its escrow names on chain.
    async fn payer(&self, context: &Context) -> Outcome<SessionPayer> {
        let market = context.market().await?.reader();
        let meter = match self.session {
            Some(id) => {
                let found = market.session(id).await?.filter(|_| id.escrow() == self.escrow);
                let terms = found.and_then(|found| found.terms).ok_or_else(|| {
                    Failure::new(
                        "session_not_open",
                        format!("session {id} is none of escrow {} that is open", self.escrow),
                        "compute-futures session open ESCROW --provider ID --limit USDC",
                    )
                })?;
                Some(terms.meter)
            }
            None => escrow(context, self.escrow).await?.meter,
        };
        let budget = SessionBudget { domain: market.domain(), escrow_id: self.escrow, session: self.session, meter };
        Ok(SessionPayer { signer: context.key()?.signer, budget })
    }
}

impl Asked {
    /// What it costs at most.
    pub(crate) const fn price(&self) -> Usdc {
        self.offer.amount
    }

    /// Orders it, at no more than `most`.
    ///
    /// # Errors
    /// As [`SessionPayer::order`].
    pub(crate) async fn order(&self, most: Usdc) -> Result<SessionPaid, ClientError> {
        self.payer.order(&self.relayer, &self.request, &self.offer, most).await
    }

    /// Checks against the chain who metered, and the prices.
    ///
    /// # Errors
    /// When the receipt does not hold, or the chain does not answer: it was paid all the same.
    pub(crate) async fn check(&self, context: &Context, paid: SessionPaid) -> Outcome<Answered> {
        let prices_checked = on_chain(context, &self.payer.budget, &paid).await?;
        Ok(Answered { paid, prices_checked })
    }
}

/// The session that paid is metered by whoever signed the receipt, and costs no more than it was opened at. `false` when the provider
/// publishes other prices by now.
async fn on_chain(context: &Context, budget: &SessionBudget, paid: &SessionPaid) -> Outcome<bool> {
    let bad = |what: String| Failure::from(ClientError::BadReceipt(what));
    let (market, receipt) = (context.market().await?.reader(), &paid.receipt.receipt);
    let SessionReceipt { session_id, .. } = receipt;
    // A session that is over by now keeps nothing of its terms on Base; the meter that the escrow names stands.
    let terms = market.session(*session_id).await?.and_then(|found| found.terms);
    let meter = terms.map(|terms| terms.meter).or(budget.meter);
    let meter = meter.ok_or_else(|| bad(format!("session {session_id} is not on chain")))?;
    if !paid.receipt.is_signed_by(meter, &budget.domain) {
        return Err(bad(format!("it is not signed by {meter}, the meter of session {session_id}")));
    }
    let Some(terms) = terms else { return Ok(false) };
    let now = market.provider(terms.provider_id).await?;
    if now.is_none_or(|now| now.version != terms.provider_version) {
        return Ok(false);
    }
    let Some(content) = market.provider_content(terms.provider_id).await? else { return Ok(false) };
    if !costs_as_published(receipt, &content) {
        let what = format!("{} USDC is more than provider {} publishes", receipt.cost, terms.provider_id);
        return Err(bad(what));
    }
    Ok(true)
}

/// The relayer speaks of what is signed; who types flags is told the flag.
fn in_our_flags(error: ClientError) -> Failure {
    let failure = Failure::from(error);
    match failure.code.as_str() {
        "max_cost_too_low" => {
            Failure { hint: "raise --max-cost if the price is right; nothing was charged".into(), ..failure }
        }
        _ => failure,
    }
}
