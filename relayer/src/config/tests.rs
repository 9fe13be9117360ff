#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashSet;

use compute_futures_chain::KeySource;
use compute_futures_protocol::{Chain, Usdc};
use proptest::prelude::*;

use super::{load::ENV_PREFIX, *};

/// A wallet on Solana.
const SOMEBODY: &str = "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM";
const EXAMPLE: &str = include_str!("../../config.example.toml");

fn env(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::read(None, pairs.iter().map(|(key, value)| (format!("{ENV_PREFIX}{key}"), (*value).to_owned())))
}

#[test]
fn defaults_can_work_as_they_are() {
    Config::default().validate().unwrap();
}

#[test]
fn the_example_is_the_defaults_explained() {
    // Regenerate with: UPDATE_EXAMPLES=1 cargo nextest run -p compute-futures-relayer the_example
    if std::env::var_os("UPDATE_EXAMPLES").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml"), print::example()).unwrap();
        return;
    }
    assert!(EXAMPLE == print::example(), "relayer/config.example.toml is out of date; regenerate it");
    assert_eq!(Config::parse(EXAMPLE).unwrap(), Config::default());
}

#[test]
fn the_example_providers_parse_when_they_are_taken_in() {
    let lines: String =
        EXAMPLE.lines().map(|line| line.strip_prefix("#| ").unwrap_or(line).to_owned() + "\n").collect();
    let config = Config::parse(&lines).unwrap();
    config.validate().unwrap();
    assert!(config.providers.iter().any(|provider| provider.name == "vllm"));
    assert!(config.models.iter().any(|model| model.routes.len() == 2), "a model with a fallback is shown");
}

#[test]
fn every_field_is_documented_and_printed_with_its_variable() {
    let printed = print::render(&Config::default());
    let values = serde_json::to_value(Config::default()).unwrap();
    let mut seen = HashSet::new();
    for (section, value) in values.as_object().unwrap() {
        let Some(fields) = value.as_object() else { continue };
        for key in fields.keys() {
            let variable = format!("{ENV_PREFIX}{}__{}", section.to_uppercase(), key.to_uppercase());
            assert!(printed.contains(&format!("{variable}\n")), "{section}.{key} is not printed with {variable}");
            seen.insert(variable);
        }
    }
    assert!(seen.len() > 40);
    for (_, fields) in print::inner_fields() {
        assert!(fields.iter().all(|field| !field.doc.is_empty()));
    }
    assert_eq!(Config::parse(&printed).unwrap(), Config::default(), "what is printed can be read again");
}

#[test]
fn file_then_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relayer.toml");
    std::fs::write(&file, "[server]\nbind = \"127.0.0.1:1\"\nconcurrency_limit = 7\n[gates]\ndeposit = \"0.02\"\n")
        .unwrap();
    let variables = [
        (format!("{ENV_PREFIX}SERVER__BIND"), "127.0.0.1:2".to_owned()),
        (format!("{ENV_PREFIX}GATES__BALANCE"), "0.003".to_owned()),
        (format!("{ENV_PREFIX}BASE__RPC_URLS"), "https://a.example/key, https://b.example".to_owned()),
        (format!("{ENV_PREFIX}BASE__CONTRACT"), "0x1111111111111111111111111111111111111111".to_owned()),
        (format!("{ENV_PREFIX}BASE__OPERATOR_KEY"), "{file=\"/run/key\"}".to_owned()),
        (format!("{ENV_PREFIX}TERMS__SET_ON_START"), "false".to_owned()),
        (format!("{ENV_PREFIX}LOG__FORMAT"), "json".to_owned()),
        ("UNRELATED".to_owned(), "x".to_owned()),
    ];
    let config = Config::read(Some(&file), variables).unwrap();
    assert_eq!((config.server.bind.as_str(), config.server.concurrency_limit), ("127.0.0.1:2", 7));
    assert_eq!((config.gates.deposit, config.gates.balance), (Usdc::from_micros(20_000), Usdc::from_micros(3_000)));
    assert_eq!(config.base.rpc_urls, ["https://a.example/key", "https://b.example"]);
    assert_eq!(config.base.operator_key, KeySource::File { file: "/run/key".into() });
    assert!(!config.terms.set_on_start && config.log.format == LogFormat::Json);
    config.validate().unwrap();
}

#[test]
fn lists_can_come_from_the_environment_too() {
    let config = env(&[("PROVIDERS", "[{name=\"up\",kind=\"openai\",base_url=\"https://a.example/v1\"}]")]).unwrap();
    assert_eq!((config.providers.len(), config.providers[0].kind), (1, ProviderKind::OpenAi));
}

#[test]
fn unknown_keys_name_the_nearest() {
    let error = Config::parse("[server]\nbnd = \"x\"\n").unwrap_err();
    assert!(error.to_string().ends_with("unknown key `server.bnd`; did you mean `server.bind`?"), "{error}");
    let error = Config::parse("[servr]\nbind = \"x\"\n").unwrap_err();
    assert!(error.to_string().contains("did you mean `server`?"), "{error}");
    let error = env(&[("GATES__DEPOSITS", "0.1")]).unwrap_err();
    assert!(
        error.to_string().contains("environment") && error.to_string().contains("did you mean `gates.deposit`?"),
        "{error}"
    );
    let error = Config::parse("[[providers]]\nname = \"a\"\ntimeout = 7\n").unwrap_err();
    assert!(
        error.to_string().contains("did you mean `providers") && error.to_string().contains("timeout_seconds"),
        "{error}"
    );
    let error = Config::parse("zzz = 1\n").unwrap_err();
    assert!(error.to_string().contains("--print-config lists every key"), "{error}");
}

#[test]
fn wrong_values_say_which_key() {
    for (toml, key) in [
        ("[server]\nconcurrency_limit = \"many\"\n", "server.concurrency_limit"),
        ("[gates]\ndeposit = 0.01\n", "gates.deposit"),
        ("[gates]\ndeposit = \"-1\"\n", "gates.deposit"),
        ("[base]\nnetwork = \"ethereum\"\n", "base.network"),
        ("[base]\ncontract = \"0x12\"\n", "base.contract"),
        ("[base]\noperator_key = \"0xabc\"\n", "base.operator_key"),
        ("[solana]\noperator_key = [1, 2]\n", "solana.operator_key"),
        ("[solana]\ncontract = \"0OIl\"\n", "solana.contract"),
    ] {
        let error = Config::parse(toml).unwrap_err().to_string();
        assert!(error.contains(key), "{toml}: {error}");
        assert!(!error.contains("0xabc"), "a key that stands in the file by mistake is not repeated: {error}");
    }
    assert!(matches!(Config::read(Some("/no/such/file".as_ref()), []), Err(ConfigError::NoFile(_))));
}

#[test]
fn what_cannot_work_is_refused_with_what_to_do() {
    type Change = fn(&mut Config);
    let cases: [(&str, Change); 21] = [
        ("server.bind", |c| c.server.bind = "here".into()),
        ("server.public_url", |c| c.server.public_url = "https://a.example/".into()),
        ("server.header_limit_bytes", |c| c.server.header_limit_bytes = 100),
        ("no network is enabled", |c| c.base.enabled = false),
        ("base.network", |c| c.base.network = Chain::Solana),
        ("base.rpc_urls", |c| c.base.rpc_urls.clear()),
        ("base.trust_latest", |c| c.base.trust_latest = Usdc::MAX),
        ("base.operator_key and facilitator_key are the same", |c| {
            c.base.facilitator_key = c.base.operator_key.clone()
        }),
        ("base.pay_to", |c| c.base.pay_to = SOMEBODY.parse().unwrap()),
        ("base.ledger_url", |c| c.base.ledger_url = "mysql://x".into()),
        ("folder", |c| c.base.ledger_url = "sqlite:///no/such/folder/x.db".into()),
        ("solana.contract is not set", |c| c.solana.enabled = true),
        ("solana.network", |c| (c.solana.enabled, c.solana.network) = (true, Chain::Base)),
        ("solana.token", |c| {
            (c.solana.enabled, c.solana.contract) = (true, SOMEBODY.parse().unwrap());
            c.solana.token = SOMEBODY.parse().unwrap();
        }),
        ("database of its own", |c| (c.solana.enabled, c.solana.ledger_url) = (true, c.base.ledger_url.clone())),
        ("terms:", |c| c.terms.tiers.reverse()),
        ("terms.refund_delay_seconds", |c| c.terms.refund_delay_seconds = 1),
        ("auto", |c| c.models[0].id = "auto".into()),
        ("costs nothing", |c| c.models[0].per_call = Usdc::ZERO),
        ("does not name", |c| c.models[0].routes[0].provider = "nobody".into()),
        ("used twice", |c| c.providers.push(c.providers[0].clone())),
    ];
    for (expected, change) in cases {
        let mut config = Config::default();
        change(&mut config);
        let error = config.validate().expect_err(expected).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn secrets_are_neither_printed_nor_debugged() {
    let mut config = Config::default();
    config.base.ledger_url = "postgres://user:SECRET@host/db".into();
    config.base.rpc_urls = vec!["https://base.example/v2/SECRET".into()];
    config.providers[0].headers.insert("X-Key".into(), "SECRET".into());
    for text in [print::render(&config), format!("{config:?}")] {
        assert!(!text.contains("SECRET") && text.contains("<redacted>"), "{text}");
    }
    Config::parse(&print::render(&config)).unwrap();
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        let _ = Config::parse(&text);
        let _ = env(&[("SERVER__BIND", &text), ("PROVIDERS", &text), ("BASE__OPERATOR_KEY", &text), ("SOLANA__CONTRACT", &text)]);
    }
}

#[test]
fn providers_tell_us_where_that_can_be_reached_and_believed() {
    let told_at = |public_url: &str, secret: &str, url: &str| {
        let mut config = Config::default();
        config.server.public_url = public_url.into();
        config.providers = vec![ProviderConfig {
            name: "rep".into(),
            webhook_secret_env: secret.into(),
            webhook_url: url.into(),
            ..ProviderConfig::default()
        }];
        config.providers_to_start().remove(0).webhook_url
    };
    let home = "https://relayer.example/api/v1/providers/rep/webhook";
    assert_eq!(told_at("https://relayer.example", "SECRET", ""), home);
    assert_eq!(told_at("https://relayer.example", "SECRET", "https://edge.example/x"), "https://edge.example/x");
    assert_eq!(told_at("https://relayer.example", "", ""), "", "nobody could tell a webhook from a forgery");
    for inside in ["", "http://relayer.example", "https://127.0.0.1:8402", "https://10.0.0.1", "https://[::1]"] {
        assert_eq!(told_at(inside, "SECRET", ""), "", "{inside}");
    }
}
