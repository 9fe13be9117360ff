//! `--print-config` and `config.example.toml`: every key with its documentation, default and environment variable.

use std::fmt::Write;

use serde_json::Value;

use super::{Config, ENV_PREFIX, ModelConfig, ProviderConfig, RouteConfig, TierConfig, section::Section};

/// The settings as a TOML file that explains itself. Values are the ones in force; secrets are redacted unless they are the
/// defaults.
#[must_use]
pub fn render(config: &Config) -> String {
    let mut out = String::new();
    let note = "# Every key of the relayer. Values shown are in force; lines that start with # are documentation.\n\
                # Order of precedence: environment, then this file, then the defaults.\n";
    out.push_str(note);
    let defaults = Config::default();
    macro_rules! tables {
        ($($name:ident),+) => { $( table(&mut out, stringify!($name), section_doc::<_>(&config.$name), &config.$name, &defaults.$name); )+ };
    }
    tables!(server, base, solana, ledger, settlement, facilitator, terms, gates, limits, admin, log);
    let _ = write!(
        out,
        "\n# Providers: who does the work. Naming any replaces the default one. As one environment variable: {ENV_PREFIX}PROVIDERS='[{{name=\"local\",kind=\"local\"}}]'\n"
    );
    list(&mut out, "providers", &config.providers, &ProviderConfig::default());
    let _ = write!(
        out,
        "\n# Models: what is on offer and at what price. Naming any replaces the default ones. As one environment variable: {ENV_PREFIX}MODELS\n"
    );
    list(&mut out, "models", &config.models, &ModelConfig::default());
    out
}

/// What can be added to the example: lines that start with `#| ` are settings, to be taken in by removing these three characters.
const REMOTE_EXAMPLE: &str = r##"
# Remote inference, as examples. Put the keys into the environment variables named here and remove `#| ` from what you use.
# Prices are yours to set; keep them above what the provider charges you.
#| [[providers]]
#| name = "openrouter"
#| kind = "openai"
#| base_url = "https://openrouter.ai/api/v1"
#| api_key_env = "OPENROUTER_API_KEY"
#| headers = { "HTTP-Referer" = "https://relayer.example", "X-Title" = "compute futures" }
#|
#| [[providers]]
#| name = "chutes"
#| kind = "openai"
#| base_url = "https://llm.chutes.ai/v1"
#| api_key_env = "CHUTES_API_KEY"
#|
#| [[models]]
#| id = "deepseek-v3"
#| name = "DeepSeek V3"
#| kind = "text-inference"
#| description = "Large chat model; served by Chutes (Bittensor subnet 64), by OpenRouter when that fails."
#| routes = [{ provider = "chutes", model = "deepseek-ai/DeepSeek-V3" }, { provider = "openrouter", model = "deepseek/deepseek-chat" }]
#| per_call = "0.001"
#| per_1k_input = "0.0008"
#| per_1k_output = "0.0016"
#| context_length = 131072
#| max_output_tokens = 8192
#| auto = false
#|
#| [[models]]
#| id = "llama-3.3-70b"
#| name = "Llama 3.3 70B"
#| kind = "text-inference"
#| description = "Chat model of 70 billion weights."
#| routes = [{ provider = "openrouter", model = "meta-llama/llama-3.3-70b-instruct" }]
#| per_call = "0.03"
#| context_length = 131072
#| max_output_tokens = 4096
#| auto = false
"##;

/// `config.example.toml`: the defaults explained, with remote providers to take in.
#[must_use]
pub fn example() -> String {
    render(&Config::default()) + REMOTE_EXAMPLE
}

fn section_doc<S: Section>(_: &S) -> &'static [&'static str] {
    S::DOC
}

fn table<S: Section>(out: &mut String, name: &str, doc: &[&str], section: &S, default: &S) {
    out.push('\n');
    comment(out, doc);
    let _ = writeln!(out, "[{name}]");
    let (values, defaults) = (json(section), json(default));
    for field in S::FIELDS {
        comment(out, field.doc);
        let (value, default) = (&values[field.name], &defaults[field.name]);
        let _ = writeln!(
            out,
            "# Default: {}. Environment: {ENV_PREFIX}{}__{}",
            toml(default),
            name.to_uppercase(),
            field.name.to_uppercase()
        );
        let _ = writeln!(out, "{} = {}", field.name, shown(field.secret, value, default));
    }
}

fn list<S: Section>(out: &mut String, name: &str, items: &[S], default: &S) {
    let defaults = json(default);
    for (position, item) in items.iter().enumerate() {
        if position > 0 {
            out.push('\n');
        }
        let _ = writeln!(out, "[[{name}]]");
        let values = json(item);
        for field in S::FIELDS {
            // Documented once: at the first entry.
            if position == 0 {
                comment(out, field.doc);
                if field.name == "routes" {
                    for inner in RouteConfig::FIELDS {
                        let _ = writeln!(out, "#   {}:{}", inner.name, inner.doc.join(""));
                    }
                }
                let _ = writeln!(out, "# Default: {}", toml(&defaults[field.name]));
            }
            let _ =
                writeln!(out, "{} = {}", field.name, shown(field.secret, &values[field.name], &defaults[field.name]));
        }
    }
}

/// Documentation of the inner tables, which are written inline.
#[must_use]
pub fn inner_fields() -> [(&'static str, &'static [super::section::Field]); 2] {
    [("terms.tiers", TierConfig::FIELDS), ("models.routes", RouteConfig::FIELDS)]
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        let _ = writeln!(out, "#{line}");
    }
}

fn json<S: Section>(section: &S) -> Value {
    // A section is a struct of plain values: it always has a JSON form.
    serde_json::to_value(section).unwrap_or_default()
}

fn shown(secret: bool, value: &Value, default: &Value) -> String {
    match value {
        _ if !secret || value == default => toml(value),
        Value::Array(items) => format!("[{}]", items.iter().map(|_| "\"<redacted>\"").collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => toml(
            &entries
                .keys()
                .map(|key| (key.clone(), Value::from("<redacted>")))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        ),
        _ => "\"<redacted>\"".into(),
    }
}

/// A JSON value in TOML.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) if entries.is_empty() => "{}".into(),
        Value::Object(entries) => format!(
            "{{ {} }}",
            entries
                .iter()
                .map(|(key, value)| format!("{} = {}", toml_key(key), toml(value)))
                .collect::<Vec<_>>()
                .join(", ")
        ),
        // Strings, numbers and booleans are written alike in both.
        plain => plain.to_string(),
    }
}

fn toml_key(key: &str) -> String {
    if key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        key.into()
    } else {
        Value::from(key).to_string()
    }
}
