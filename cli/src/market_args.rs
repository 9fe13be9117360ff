//! The marketplace's verbs and flags, documented where they are declared.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use compute_futures_protocol::{Address, Usdc, parse_address};
use url::Url;

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
    /// Providers that can be chosen, with prices and how well they answer, as the relayer sees them.
    List(ListArgs),
    /// What an indexer has seen of a provider: requests, tokens, earnings, latency, uptime.
    Metrics {
        /// The provider's id.
        provider: u32,
        /// Length of one entry of the series.
        #[arg(long, value_enum, default_value_t = Interval::Day)]
        interval: Interval,
        /// From this second on (Unix seconds); default: thirty days ago.
        #[arg(long)]
        from: Option<u64>,
        /// Up to this second (Unix seconds); default: now.
        #[arg(long)]
        to: Option<u64>,
    },
    /// Serve inference to the sessions of the marketplace, in front of any server that speaks OpenAI's API.
    Serve(ServeArgs),
}

/// `provider list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only those that serve this model.
    #[arg(long)]
    pub model: Option<String>,
    /// At most this much for 1,000 tokens read, in USDC.
    #[arg(long)]
    pub max_input_price: Option<Usdc>,
    /// At most this much for 1,000 tokens written, in USDC.
    #[arg(long)]
    pub max_output_price: Option<Usdc>,
    /// At most so many milliseconds to the whole answer, on average.
    #[arg(long)]
    pub max_latency_ms: Option<u32>,
    /// At least so many percent of the last thirty days.
    #[arg(long)]
    pub min_uptime: Option<String>,
    /// Only those with this feature.
    #[arg(long)]
    pub feature: Option<String>,
    /// In which order.
    #[arg(long, value_enum)]
    pub sort: Option<Sort>,
    /// At most so many.
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

/// Orders of a list of providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Cheapest first.
    Price,
    /// Fastest first.
    Latency,
    /// Most reliable first.
    Uptime,
}

/// Lengths of entries of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Interval {
    /// An hour.
    Hour,
    /// A day.
    Day,
}

/// `provider serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The provider's id.
    #[arg(long)]
    pub provider: u32,
    /// The server that does the work, by its base URL (up to and including /v1); `local`: sentences picked from the text by the
    /// summariser built in here, to try things out.
    #[arg(long, value_name = "URL")]
    pub upstream: UpstreamArg,
    /// Name of the environment variable that holds the key of that server.
    #[arg(long, value_name = "NAME")]
    pub upstream_key_env: Option<String>,
    /// Whose orders are served: the address of an operator of a relayer that you trust to count; several times for several. Default:
    /// the devnet's.
    #[arg(long = "meter", value_parser = parse_address, value_name = "ADDRESS")]
    pub meters: Vec<Address>,
    /// Address and port; port 0: any free one. For the internet put a web server with TLS in front.
    #[arg(long, default_value = "127.0.0.1:4040")]
    pub bind: SocketAddr,
    /// Requests a minute; default: what the provider publishes.
    #[arg(long)]
    pub rate_limit: Option<NonZeroU32>,
    /// Largest request, in bytes.
    #[arg(long, default_value_t = 1024 * 1024)]
    pub max_body: usize,
    /// Seconds for an answer; meters wait for 120.
    #[arg(long, default_value_t = 110, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub timeout: u64,
    /// Stop when standard input closes: for a parent process that must not leave children behind.
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

/// What does the work of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamArg {
    /// A server.
    Url(Url),
    /// The summariser that is built in.
    Local,
}

impl FromStr for UpstreamArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "local" {
            return Ok(Self::Local);
        }
        let url: Url = text.parse().map_err(|error| format!("{error}; write a base URL, or local"))?;
        if matches!(url.scheme(), "http" | "https") {
            Ok(Self::Url(url))
        } else {
            Err("write http:// or https://".into())
        }
    }
}

/// `escrow …`
#[derive(Debug, Subcommand)]
pub enum EscrowCommand {
    /// Create an escrow with the key's USDC.
    Create(CreateArgs),
    /// Add the key's USDC to an escrow, whoever created it; it is the creator's then.
    Fund(FundArgs),
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
    /// Turn what lies at a deposit address into budget, whoever asks; the first time creates its escrow.
    Sweep {
        /// What `escrow create --deposit-address --json` printed; `-` reads standard input.
        terms: PathBuf,
    },
    /// Send what lies at a deposit address to its creator: by the creator, after the expiry by anyone.
    Recover {
        /// What `escrow create --deposit-address --json` printed; `-` reads standard input.
        terms: PathBuf,
        /// Of which token; default: USDC.
        #[arg(long, value_parser = parse_address)]
        token: Option<Address>,
    },
    /// Solana: close a deposit address that feeds no escrow; its rent comes back to the key, which opened it.
    CloseDepositAddress {
        /// What `escrow create --deposit-address --json` printed; `-` reads standard input.
        terms: PathBuf,
    },
    /// Solana: close an agent's account once its escrow is gone; its rent comes back to the key, which paid it.
    CloseAgent {
        /// The escrow's id.
        escrow: u32,
        /// The agent's address.
        #[arg(value_parser = parse_address)]
        agent: Address,
    },
}

/// Who pays the gas of a funding.
#[derive(Debug, Default, Args)]
pub struct GasArgs {
    /// Sign only; the relayer pays the gas (Base). With --payer-of-gas another key of yours does.
    #[arg(long)]
    pub gasless: bool,
    /// Where the key is that pays the gas (as --key), while --key signs for the USDC.
    #[arg(long, value_name = "SOURCE", requires = "gasless")]
    pub payer_of_gas: Option<String>,
    /// Only sign it and print it (Base); anyone can bring it with --signed, within an hour.
    #[arg(long, conflicts_with_all = ["gasless", "payer_of_gas"])]
    pub sign: bool,
    /// Bring what was signed with --sign: a file, `-` reads standard input.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["gasless", "payer_of_gas", "sign"])]
    pub signed: Option<PathBuf>,
}

impl GasArgs {
    /// Whether somebody else shall pay.
    #[must_use]
    pub const fn is_asked(&self) -> bool {
        self.gasless || self.sign
    }
}

/// `escrow fund`
#[derive(Debug, Args)]
pub struct FundArgs {
    /// The escrow's id.
    #[arg(required_unless_present = "signed")]
    pub escrow: Option<u32>,
    /// How much, in USDC.
    #[arg(allow_negative_numbers = true, required_unless_present = "signed")]
    pub amount: Option<Usdc>,
    /// Who pays the gas.
    #[command(flatten)]
    pub gas: GasArgs,
}

/// `escrow create`
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// How much, in USDC.
    #[arg(allow_negative_numbers = true, required_unless_present_any = ["signed", "deposit_address"])]
    pub amount: Option<Usdc>,
    /// Most one session may cost, in USDC.
    #[arg(long, allow_negative_numbers = true, required_unless_present = "signed")]
    pub session_limit: Option<Usdc>,
    /// How long sessions can be open: 90s, 45m, 12h or 30d from now.
    #[arg(long = "for", value_parser = duration, value_name = "DURATION", required_unless_present_any = ["expiry", "signed"])]
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
    /// Send nothing: print an address that turns plain transfers, from any wallet or exchange, into this escrow, and what `escrow sweep`
    /// needs. Keep that.
    #[arg(long, conflicts_with_all = ["amount", "gasless", "payer_of_gas", "sign", "signed"])]
    pub deposit_address: bool,
    /// Who pays the gas.
    #[command(flatten)]
    pub gas: GasArgs,
}

/// `90s`, `45m`, `12h`, `30d`; a plain number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
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
