//! `deposit`: four ways to the same credit.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use compute_futures_chain::{Action, EventKind};
use compute_futures_protocol::{AccountId, Address, DepositTerms, Usdc};
use serde_json::{Value, json};

use super::events::{Done, post};
use super::sponsored;
use crate::args::DepositArgs;
use crate::client::{Answer, ClientError, Payee, Payment, Request, sign_gasless};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::facts;

/// Most that a deposit over HTTP may cost on top of its amount: ten times the usual gate price.
pub(crate) const MOST_FEE: Usdc = Usdc::from_micros(100_000);
/// How long it waits for the chain.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a gasless authorisation stays valid.
const VALID_SECONDS: u64 = 3600;

pub(super) async fn run(context: &Context, args: DepositArgs) -> Outcome<()> {
    let account = match &args.account {
        Some(text) => Some(context.account(text).await?),
        None => None,
    };
    if args.gasless {
        gasless(context, &args, account).await
    } else if args.transfer {
        transfer(context, &args, account).await
    } else if args.x402 {
        x402(context, &args, account).await
    } else {
        direct(context, &args, account).await
    }
}

/// By the owner's own transaction.
async fn direct(context: &Context, args: &DepositArgs, account: Option<AccountId>) -> Outcome<()> {
    let amount = args.amount;
    let owner = context.address()?;
    let action = match account {
        // Zero leaves the ceiling as it is.
        Some(account) => Action::TopUp { account, amount, ceiling: args.ceiling.unwrap_or(Usdc::ZERO) },
        None => Action::Deposit {
            operator_index: context.operator_index().await?,
            owner,
            amount,
            ceiling: args.ceiling.unwrap_or(Usdc::MAX),
        },
    };
    // Before any gas is spent, the approval's included.
    match account {
        Some(account) => takes_deposits(context, account, amount).await?,
        None => opens_an_account(context, args).await?,
    }
    holds(context, owner, amount).await?;
    // Where a contract must first be allowed to take money, the writer sees to that.
    context.output.progress("depositing …");
    let done = sponsored::post(context, &action, args.sponsored).await?;
    credited(context, &done)
}

/// The contract takes no less to open an account, and an account that may spend nothing is of no use.
async fn opens_an_account(context: &Context, args: &DepositArgs) -> Outcome<()> {
    if args.ceiling == Some(Usdc::ZERO) {
        return Err(Failure::new(
            "usage",
            "with a ceiling of 0 nothing could be spent",
            "leave --ceiling out, or raise it",
        ));
    }
    let index = context.operator_index().await?;
    let reader = context.reader().await?;
    let terms = match reader.operator(index).await? {
        Some(operator) => reader.terms(index, operator.terms_version).await?,
        None => None,
    };
    let terms = terms.ok_or_else(|| {
        Failure::new("unknown_operator", format!("operator {index} does not exist"), "check --operator and the network")
    })?;
    if args.amount < terms.minimum_deposit {
        return Err(Failure::new(
            "deposit_too_small",
            format!(
                "the deposit is {} USDC, the least that opens an account is {} USDC",
                args.amount, terms.minimum_deposit
            ),
            "deposit more, or name the account to top up: --account",
        ));
    }
    Ok(())
}

/// An account that is open and not about to be refunded.
async fn takes_deposits(context: &Context, account: AccountId, amount: Usdc) -> Outcome<()> {
    if amount.is_zero() {
        return Err(Failure::new("usage", "the amount is 0", "deposit something"));
    }
    if context.open(account).await?.refundable_at.is_some() {
        return Err(Failure::new(
            "refund_requested",
            format!("a refund of account {account} is under way"),
            "open a new one: leave --account out",
        ));
    }
    Ok(())
}

/// The wallet has the money.
async fn holds(context: &Context, owner: Address, amount: Usdc) -> Outcome<()> {
    let held = context.reader().await?.token_balance(owner, None).await?;
    if held < amount {
        return Err(Failure::new(
            "insufficient_usdc",
            format!("{owner} holds {held} USDC, the deposit is {amount} USDC"),
            "send USDC to that address on this network, or deposit less",
        ));
    }
    Ok(())
}

/// By a signature; the relayer sends the transaction. Where there are no such signatures, the relayer pays the fee of the payment.
async fn gasless(context: &Context, args: &DepositArgs, account: Option<AccountId>) -> Outcome<()> {
    let Some(token) = context.deployment().token_domain() else {
        return x402(context, args, account).await;
    };
    let key = context.key()?;
    let valid_before = unix_now() + VALID_SECONDS;
    let deposit = sign_gasless(
        &key.signer,
        &token,
        context.domain()?.contract(),
        context.operator_index().await?,
        account,
        args.amount,
        args.ceiling.unwrap_or(if account.is_some() { Usdc::ZERO } else { Usdc::MAX }),
        valid_before,
    )?;
    // What is paid here is the relayer's price alone; the deposit itself can go to the contract only.
    credited_over_http(context, signed(context, &deposit.body(), MOST_FEE, &Payee::Anyone).await?).await
}

/// By a plain transfer to an address that commits to what it is for; then anyone may sweep it.
async fn transfer(context: &Context, args: &DepositArgs, account: Option<AccountId>) -> Outcome<()> {
    if account.is_some() {
        return Err(Failure::new(
            "usage",
            "a deposit address knows its own account; --account cannot choose another",
            "leave --account out: the first sweep opens an account, later ones top it up",
        ));
    }
    let terms = DepositTerms {
        operator_index: context.operator_index().await?,
        owner: context.address()?,
        ceiling: args.ceiling.unwrap_or(Usdc::MAX),
        fee: Usdc::ZERO,
    };
    let reader = context.reader().await?;
    let address = reader.deposit_address(&terms)?;
    if args.print {
        let result = json!({ "depositAddress": address, "terms": terms, "amount": args.amount });
        context.output.result(&result, || {
            facts([
                ("send USDC to", address.to_string()),
                ("owner", terms.owner.to_string()),
                (
                    "then",
                    "compute-futures deposit AMOUNT --transfer sweeps it once it is there, or anyone calls sweep"
                        .into(),
                ),
            ])
        });
        return Ok(());
    }
    let feeds = match reader.account_of_deposit_address(address).await? {
        Some(account) => reader.account(account).await?.filter(|account| !account.closed),
        None => None,
    };
    if feeds.is_none() {
        opens_an_account(context, args).await?;
    }
    if reader.token_balance(address, None).await? < args.amount {
        holds(context, terms.owner, args.amount).await?;
        context.output.progress(format!("transferring {} USDC to {address} …", args.amount));
        post(context, &Action::Transfer { to: address, amount: args.amount }).await?;
    }
    context.output.progress("sweeping it into credit …");
    let done = post(context, &Action::Sweep { terms }).await?;
    credited(context, &done)
}

/// As a stock x402 client does: the 402 asks for amount and gate price, the payment goes to the deposit address.
async fn x402(context: &Context, args: &DepositArgs, account: Option<AccountId>) -> Outcome<()> {
    if account.is_some() {
        return Err(Failure::new(
            "usage",
            "a deposit over x402 goes to the owner's deposit address; --account cannot choose another",
            "leave the flag out for a top-up of a given account",
        ));
    }
    credited_over_http(context, sign(context, args.amount, args.ceiling, MOST_FEE).await?).await
}

async fn credited_over_http(context: &Context, deposit: SignedDeposit) -> Outcome<()> {
    let answer = deposit.send(context).await?;
    context.output.result(&answer.body, || {
        let text = |name: &str| {
            answer.body.pointer(&format!("/computeFuture/{name}")).and_then(Value::as_str).unwrap_or("?").to_owned()
        };
        facts([
            ("futures id", text("id")),
            ("account", text("accountId")),
            ("tier", format!("{} ({})", text("tier"), text("discount"))),
            ("balance", text("balanceRemaining")),
        ])
    });
    Ok(())
}

/// A deposit over HTTP whose payment is signed and not sent yet.
pub(crate) struct SignedDeposit {
    request: Request,
    payment: Payment,
}

/// Signs a payment to the wallet's own deposit address, of `amount` and a fee of at most `most_fee`. Nothing is paid until it is sent.
///
/// # Errors
/// When the relayer asks for anything else: a higher fee (`too_expensive`), or a payment to somebody (`untrusted_offer`).
pub(crate) async fn sign(
    context: &Context,
    amount: Usdc,
    ceiling: Option<Usdc>,
    most_fee: Usdc,
) -> Outcome<SignedDeposit> {
    if amount.is_zero() {
        return Err(Failure::new("usage", "the amount is 0", "deposit something"));
    }
    let most =
        amount.checked_add(most_fee).ok_or_else(|| Failure::new("usage", "the amount is too large", "deposit less"))?;
    let owner = context.address()?;
    let mut body = json!({ "depositor": owner, "amount": amount.to_string() });
    if let Some(ceiling) = ceiling {
        body["ceiling"] = json!(ceiling.to_string());
    }
    let operator_index = context.operator_index().await?;
    let ceiling = ceiling.unwrap_or(Usdc::MAX);
    let reader = context.reader().await?;
    let with_fee = move |fee| reader.deposit_address(&DepositTerms { operator_index, owner, ceiling, fee });
    signed(context, &body, most, &Payee::DepositAddress { amount, with_fee: Box::new(with_fee) }).await
}

/// Signs what the relayer asks for a deposit, at most `most`.
async fn signed(context: &Context, body: &Value, most: Usdc, payee: &Payee) -> Outcome<SignedDeposit> {
    let request = Request::post("/api/v1/compute-futures/deposit", body);
    let payment = context.exact(most).await?.payment(&context.relayer()?, &request, payee).await.map_err(|error| {
        let hint =
            "that fee is too high: ask the operator, or deposit without its relayer (leave --x402 and --gasless out)";
        match error {
            ClientError::TooExpensive(_) => Failure::new(error.code(), error.to_string(), hint),
            error => error.into(),
        }
    })?;
    Ok(SignedDeposit { request, payment })
}

impl SignedDeposit {
    /// What it moves: the deposit and its fee.
    pub(crate) const fn amount(&self) -> Usdc {
        self.payment.amount()
    }

    /// Pays, and waits until it is credit.
    ///
    /// # Errors
    /// When it is refused, or paid and not credit yet.
    pub(crate) async fn send(&self, context: &Context) -> Outcome<Answer> {
        let answer = self.payment.send_to_the_end(&context.relayer()?, &self.request, PATIENCE).await?;
        if answer.status == 202 {
            let why = answer.body["reason"].as_str().unwrap_or("it is not confirmed on chain yet");
            return Err(Failure::new(
                "pending",
                format!("the deposit is paid and not credit yet: {why}"),
                "it becomes credit by itself: compute-futures balance shows it",
            ));
        }
        Ok(answer)
    }
}

fn credited(context: &Context, done: &Done) -> Outcome<()> {
    let (account, amount, credit, bps) = done.find(|event| match event {
        EventKind::Deposited { account, amount, credit, discount_bps, .. } => {
            Some((*account, *amount, *credit, *discount_bps))
        }
        _ => None,
    })?;
    let futures_id = account.futures_id(context.chain());
    let mut result = done.json();
    result["accountId"] = json!(account);
    result["futuresId"] = json!(futures_id);
    result["amount"] = json!(amount);
    result["credit"] = json!(credit);
    result["discountBps"] = json!(bps);
    context.output.result(&result, || {
        facts([
            ("futures id", futures_id.to_string()),
            ("account", account.to_string()),
            ("deposited", format!("{amount} USDC (credit {credit} USDC)")),
            ("discount", format!("{}.{:02} %", bps / 100, bps % 100)),
            ("transaction", done.transaction.to_string()),
        ])
    });
    Ok(())
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}
