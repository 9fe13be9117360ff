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
    tables!(
        server,
        base,
        solana,
        ledger,
        settlement,
        facilitator,
        market,
        terms,
        gates,
        limits,
        catalog,
        jobs,
        outputs,
        admin,
        log
    );
    let _ = write!(
        out,
        "\n# Providers: who does the work. Naming any replaces the default one. As one environment variable: {ENV_PREFIX}PROVIDERS='[{{name=\"local\",kind=\"local\"}}]'\n"
    );
    list(&mut out, "providers", &config.providers, &ProviderConfig::default());
    let _ = write!(
        out,
        "\n# Models: what is on offer and at what price. Naming any replaces those of the price list. As one environment variable: {ENV_PREFIX}MODELS\n"
    );
    if config.models == defaults.models {
        out.push_str("# Not named here: those of relayer/rates.toml, which is built in.\n");
    } else {
        list(&mut out, "models", &config.models, &ModelConfig::default());
    }
    out
}

/// What can be added to the example: lines that start with `#| ` are settings, to be taken in by removing these three characters.
const REMOTE_EXAMPLE: &str = r##"
# A model of your own, as an example: any server that speaks OpenAI's API. Remove `#| ` from what you use; naming models replaces all
# others, so keep a copy of relayer/rates.toml instead (catalog.rates) when you want to change only a few.
#| [[providers]]
#| name = "vllm"
#| kind = "openai"
#| base_url = "https://vllm.example/v1"
#|
#| [[models]]
#| id = "my-model"
#| kind = "text-inference"
#| description = "Chat model of your own; the built-in summary when it is down."
#| routes = [{ provider = "vllm", model = "served-name" }, { provider = "local", model = "local/extractive-summary" }]
#| per_call = "0.001"
#| per_1k_input = "0.0008"
#| per_1k_output = "0.0016"
#| context_length = 131072
#| max_output_tokens = 4096
#| auto = true
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
