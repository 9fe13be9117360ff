//! The marketplace's verbs and flags, documented where they are declared.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use compute_futures_protocol::market::SessionId;
use compute_futures_protocol::{Address, B256, Usdc, parse_address};

/// `provider …`
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// Register a provider that the key owns.
    Register {
        /// What is served and at what price: a TOML or JSON file (docs/marketplace.md); `-` reads TOML from standard input.
        content: PathBuf,
    },
    /// Replace what a provider publishes; sessions already open keep their prices.
    Update {
        /// The provider's id.
        provider: u32,
        /// As for register.
        content: PathBuf,
    },
    /// Take a provider out of the market, for good; earnings stay.
    Retire {
        /// The provider's id.
        provider: u32,
    },
    /// What a provider publishes and has earned.
    Show {
        /// The provider's id.
        provider: u32,
    },
    /// Take earnings.
    Withdraw {
        /// The provider's id.
        provider: u32,
        /// How much, in USDC; default: everything.
        #[arg(allow_negative_numbers = true)]
        amount: Option<Usdc>,
        /// To which address; default: the key's own.
        #[arg(long, value_parser = parse_address)]
        to: Option<Address>,
    },
}

/// `escrow …`
#[derive(Debug, Subcommand)]
pub enum EscrowCommand {
    /// Create an escrow with the key's USDC.
    Create(CreateArgs),
    /// Add the key's USDC to an escrow, whoever created it; it is the creator's then.
    Fund {
        /// The escrow's id.
        escrow: u32,
        /// How much, in USDC.
        #[arg(allow_negative_numbers = true)]
        amount: Usdc,
    },
    /// Let an agent open sessions.
    Allow {
        /// The escrow's id.
        escrow: u32,
        /// The agent's address.
        #[arg(value_parser = parse_address)]
        agent: Address,
    },
    /// Let an agent open no more sessions; those it opened go on.
    Disallow {
        /// The escrow's id.
        escrow: u32,
        /// The agent's address.
        #[arg(value_parser = parse_address)]
        agent: Address,
    },
    /// Take back what is not reserved, any time.
    Refund {
        /// The escrow's id.
        escrow: u32,
        /// At most how much, in USDC; default: everything.
        #[arg(allow_negative_numbers = true)]
        amount: Option<Usdc>,
    },
    /// After the expiry: send everything to the creator, whoever asks.
    Expire {
        /// The escrow's id.
        escrow: u32,
    },
    /// Terms, budget, and what an agent may do.
    Show {
        /// The escrow's id.
        escrow: u32,
        /// Whether this agent may open sessions, and its next nonce; several times for several.
        #[arg(long = "agent", value_parser = parse_address)]
        agents: Vec<Address>,
    },
}

/// `escrow create`
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// How much, in USDC.
    #[arg(allow_negative_numbers = true)]
    pub amount: Usdc,
    /// Most one session may cost, in USDC.
    #[arg(long, allow_negative_numbers = true)]
    pub session_limit: Usdc,
    /// How long sessions can be open: 90s, 45m, 12h or 30d from now.
    #[arg(long = "for", value_parser = duration, value_name = "DURATION", required_unless_present = "expiry")]
    pub lasts: Option<Duration>,
    /// Or the last second of it (Unix seconds).
    #[arg(long, conflicts_with = "lasts")]
    pub expiry: Option<u64>,
    /// An agent that may open sessions; several times for several.
    #[arg(long = "agent", value_parser = parse_address)]
    pub agents: Vec<Address>,
    /// Anyone may open sessions; needs --meter.
    #[arg(long, conflicts_with = "agents", requires = "meter")]
    pub open_to_all: bool,
    /// The only meter that sessions may name. Without one an agent can name its own, and pay itself: do so only for agents of yours.
    #[arg(long, value_parser = parse_address)]
    pub meter: Option<Address>,
}

/// `session …`
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Open a session: its limit is reserved.
    Open(OpenArgs),
    /// Close a session at its cost, signed by its meter; several signed ones in one transaction.
    Close(CloseArgs),
    /// After their deadline: give the reservations of sessions nobody closed back to their escrows.
    Lapse {
        /// The sessions' ids.
        #[arg(required = true)]
        sessions: Vec<SessionId>,
    },
    /// A session, and what happened to it.
    Show {
        /// The session's id.
        session: SessionId,
    },
}

/// `session open`
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// The escrow that pays.
    #[arg(required_unless_present = "signed")]
    pub escrow: Option<u32>,
    /// Who serves (its id), at the prices it publishes now.
    #[arg(long, required_unless_present = "signed")]
    pub provider: Option<u32>,
    /// Most the session may cost, in USDC.
    #[arg(long, allow_negative_numbers = true, required_unless_present = "signed")]
    pub limit: Option<Usdc>,
    /// How long it can be closed: 90s, 45m, 12h or 30d from now.
    #[arg(long = "for", value_parser = duration, value_name = "DURATION", default_value = "1h")]
    pub lasts: Duration,
    /// Who will sign the cost; default: the meter that the escrow names.
    #[arg(long, value_parser = parse_address)]
    pub meter: Option<Address>,
    /// Refuse when the provider's content is another than this one (its hash, see `provider show`).
    #[arg(long)]
    pub content: Option<B256>,
    /// Only sign it as the agent and print it; anyone can bring it with --signed.
    #[arg(long)]
    pub sign: bool,
    /// Bring an opening that its agent signed: a file, `-` reads standard input.
    #[arg(long, conflicts_with_all = ["escrow", "provider", "limit", "meter", "content", "sign"], value_name = "PATH")]
    pub signed: Option<PathBuf>,
}

/// `session close`
#[derive(Debug, Args)]
pub struct CloseArgs {
    /// The session; the key is its meter's.
    #[arg(required_unless_present = "signed")]
    pub session: Option<SessionId>,
    /// What it cost, in USDC.
    #[arg(long, allow_negative_numbers = true, required_unless_present = "signed")]
    pub cost: Option<Usdc>,
    /// How many receipts there are.
    #[arg(long, default_value_t = 0)]
    pub receipts: u32,
    /// Merkle root of the receipts; default: zero, for none.
    #[arg(long)]
    pub root: Option<B256>,
    /// Only sign it as the meter and print it; anyone can bring it with --signed.
    #[arg(long)]
    pub sign: bool,
    /// Bring a cost that its meter signed; several times for several in one transaction, where no bad one blocks the others (on Solana
    /// the key must then be their meter's).
    #[arg(long, conflicts_with_all = ["session", "cost", "receipts", "root", "sign"], value_name = "PATH")]
    pub signed: Vec<PathBuf>,
}

/// `90s`, `45m`, `12h`, `30d`; a plain number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write 90s, 45m, 12h or 30d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        let seconds = |text| duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("90"), Ok(90));
        assert_eq!(seconds("45m"), Ok(2_700));
        assert_eq!(seconds("12h"), Ok(43_200));
        assert_eq!(seconds("30d"), Ok(2_592_000));
        for text in ["", "s", "-1s", "1.5h", "3w", "+3", "1 h", "99999999999999999999", "18446744073709551615d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
