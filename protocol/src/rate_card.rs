//! What jobs cost before discount. The operator commits to its rate card by hash in its terms.

use std::collections::BTreeMap;

use alloy_primitives::{B256, keccak256};
use serde::{Deserialize, Serialize};

use crate::{CanonicalJsonError, JobKind, Usage, Usdc, canonical_json};

/// A rate card that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RateCardError {
    /// Beyond [`Usdc::MAX`].
    #[error("the price of this job exceeds what an account can hold; ask for fewer tokens")]
    PriceTooLarge,
    /// Listed twice.
    #[error("the rate card lists model {0:?} twice; remove one entry")]
    DuplicateModel(String),
    /// Nameless.
    #[error("the rate card has a model with an empty id; give it one")]
    EmptyModelId,
    /// No such kind.
    #[error("unknown job kind {0:?}; use one of {names}", names = JobKind::names())]
    UnknownKind(String),
    /// Not JSON.
    #[error(transparent)]
    CanonicalJson(#[from] CanonicalJsonError),
}

/// Prices of one model, before discount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelRate {
    /// As callers name it.
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// As people read it.
    pub name: String,
    /// For each job, whatever its size.
    pub per_call: Usdc,
    /// For each 1,000 tokens read.
    pub per_1k_input_tokens: Usdc,
    /// For each 1,000 tokens written.
    pub per_1k_output_tokens: Usdc,
    /// Most tokens the model can hold, input and output together.
    pub context_length: u64,
    /// Most tokens it writes in one job.
    pub max_output_tokens: u64,
    /// For each image. Like the others below, left out of the JSON when it is zero, so that older cards keep their hash.
    #[serde(default, skip_serializing_if = "is_free")]
    pub per_image: Usdc,
    /// For each second of audio or video, or of machine time for `gpu`.
    #[serde(default, skip_serializing_if = "is_free")]
    pub per_second: Usdc,
    /// For each 1,000 characters: spoken ones, or those read out of a document.
    #[serde(default, rename = "per1kCharacters", skip_serializing_if = "is_free")]
    pub per_1k_characters: Usdc,
    /// Most seconds that one job can be charged for; 0 where seconds are not metered.
    #[serde(default, skip_serializing_if = "is_none")]
    pub max_seconds: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_free(price: &Usdc) -> bool {
    price.is_zero()
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_none(number: &u64) -> bool {
    *number == 0
}

impl ModelRate {
    /// A rate without prices, to be filled in.
    #[must_use]
    pub fn of(id: &str, kind: JobKind) -> Self {
        Self {
            id: id.to_owned(),
            kind,
            name: id.to_owned(),
            per_call: Usdc::ZERO,
            per_1k_input_tokens: Usdc::ZERO,
            per_1k_output_tokens: Usdc::ZERO,
            context_length: 0,
            max_output_tokens: 0,
            per_image: Usdc::ZERO,
            per_second: Usdc::ZERO,
            per_1k_characters: Usdc::ZERO,
            max_seconds: 0,
        }
    }

    /// List price of a job: per call + every metered unit, each part counted in thousands rounded up to a micro-USDC.
    ///
    /// # Errors
    /// When it exceeds [`Usdc::MAX`].
    pub fn price(&self, usage: &Usage) -> Result<Usdc, RateCardError> {
        let parts = [
            u128::from(self.per_call.micros()),
            per_thousand(self.per_1k_input_tokens, usage.input_tokens),
            per_thousand(self.per_1k_output_tokens, usage.output_tokens),
            per_thousand(self.per_1k_characters, usage.characters),
            u128::from(self.per_image.micros()) * u128::from(usage.images),
            u128::from(self.per_second.micros()) * u128::from(usage.seconds),
        ];
        let total = parts.into_iter().fold(0_u128, u128::saturating_add);
        u64::try_from(total).ok().and_then(|micros| Usdc::try_from(micros).ok()).ok_or(RateCardError::PriceTooLarge)
    }

    /// Whether it costs anything.
    #[must_use]
    pub fn is_free(&self) -> bool {
        [
            self.per_call,
            self.per_1k_input_tokens,
            self.per_1k_output_tokens,
            self.per_image,
            self.per_second,
            self.per_1k_characters,
        ]
        .iter()
        .all(|price| price.is_zero())
    }
}

/// `rate × tokens / 1000`, rounded up; in 128 bits nothing overflows.
fn per_thousand(rate: Usdc, tokens: u64) -> u128 {
    (u128::from(rate.micros()) * u128::from(tokens)).div_ceil(1000)
}

/// A list amount above the card that the account was opened under.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "charges {charged} USDC before discount for {model}; the rate card that its account was opened under asks for {listed}"
)]
pub struct PriceFault {
    /// The model that ran.
    pub model: String,
    /// What the card asks for.
    pub listed: Usdc,
    /// What the receipt says.
    pub charged: Usdc,
}

/// An operator's prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateCard {
    /// Rises with every change.
    pub version: u32,
    /// Whose it is, for the reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Prices by model.
    pub models: Vec<ModelRate>,
    /// Gate price by endpoint, as `POST /api/v1/compute-futures/execute`.
    #[serde(default)]
    pub gates: BTreeMap<String, Usdc>,
}

impl RateCard {
    /// The model callers know by this id.
    #[must_use]
    pub fn model(&self, id: &str) -> Option<&ModelRate> {
        self.models.iter().find(|model| model.id == id)
    }

    /// The rate of a job of that kind on that model.
    #[must_use]
    pub fn rate(&self, kind: JobKind, id: &str) -> Option<&ModelRate> {
        self.models.iter().find(|model| model.kind == kind && model.id == id)
    }

    /// List price for an account that was opened under this card: the lower of today's price and this card's. A model that
    /// this card does not list costs what it costs today.
    ///
    /// # Errors
    /// When today's price exceeds [`Usdc::MAX`].
    pub fn locked_price(&self, today: &ModelRate, usage: &Usage) -> Result<Usdc, RateCardError> {
        let now = today.price(usage)?;
        Ok(match self.rate(today.kind, &today.id).map(|then| then.price(usage)) {
            Some(Ok(then)) => now.min(then),
            // A card whose price overflows bounds nothing.
            Some(Err(_)) | None => now,
        })
    }

    /// Whether a receipt's list amount keeps the promise of the card that its account was opened under: no more than this card
    /// asks for what was used. Lower is the operator's gift. A model that came later has no price here and passes; what it
    /// cost stands on the card of its day.
    ///
    /// # Errors
    /// Says what the card asks for.
    pub fn check_list_amount(
        &self,
        kind: JobKind,
        model: &str,
        usage: &Usage,
        list_amount: Usdc,
    ) -> Result<(), PriceFault> {
        let Some(rate) = self.rate(kind, model) else { return Ok(()) };
        match rate.price(usage) {
            Ok(price) if list_amount > price => {
                Err(PriceFault { model: model.to_owned(), listed: price, charged: list_amount })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Checks that every model has an id of its own.
    ///
    /// # Errors
    /// Names the model at fault.
    pub fn validate(&self) -> Result<(), RateCardError> {
        let mut seen = std::collections::HashSet::new();
        for model in &self.models {
            if model.id.is_empty() {
                return Err(RateCardError::EmptyModelId);
            }
            if !seen.insert(model.id.as_str()) {
                return Err(RateCardError::DuplicateModel(model.id.clone()));
            }
        }
        Ok(())
    }

    /// Canonical JSON (RFC 8785): what [`RateCard::hash`] hashes and what an operator publishes.
    ///
    /// # Errors
    /// Those of the JSON writer.
    pub fn canonical(&self) -> Result<Vec<u8>, RateCardError> {
        Ok(canonical_json(self)?)
    }

    /// keccak256 of the canonical JSON: the `rateCardHash` of the operator's terms.
    ///
    /// # Errors
    /// Those of the JSON writer.
    pub fn hash(&self) -> Result<B256, RateCardError> {
        Ok(keccak256(self.canonical()?))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn micros(amount: u64) -> Usdc {
        Usdc::from_micros(amount)
    }

    fn model() -> ModelRate {
        ModelRate {
            id: "local/extract".into(),
            kind: JobKind::TextInference,
            name: "Extractive summary".into(),
            per_call: micros(1000),
            per_1k_input_tokens: micros(150),
            per_1k_output_tokens: micros(600),
            context_length: 32_768,
            max_output_tokens: 1024,
            ..ModelRate::of("", JobKind::TextInference)
        }
    }

    fn card() -> RateCard {
        RateCard { version: 1, operator: None, models: vec![model()], gates: BTreeMap::new() }
    }

    #[test]
    fn each_part_is_rounded_up() {
        let price =
            |input_tokens, output_tokens| model().price(&Usage::tokens(input_tokens, output_tokens)).unwrap().micros();
        assert_eq!(price(0, 0), 1000);
        assert_eq!(price(1, 0), 1001);
        assert_eq!(price(0, 1), 1001);
        assert_eq!(price(1, 1), 1002);
        assert_eq!(price(1000, 1000), 1750);
        assert_eq!(price(1001, 1001), 1752);
    }

    #[test]
    fn a_price_beyond_every_account_is_an_error() {
        let usage = Usage::tokens(u64::MAX, u64::MAX);
        assert!(matches!(model().price(&usage), Err(RateCardError::PriceTooLarge)));
        let dear = ModelRate {
            per_1k_input_tokens: Usdc::MAX,
            per_1k_output_tokens: Usdc::MAX,
            per_call: Usdc::MAX,
            ..model()
        };
        assert!(matches!(dear.price(&usage), Err(RateCardError::PriceTooLarge)));
        assert!(matches!(dear.price(&Usage::tokens(1, 0)), Err(RateCardError::PriceTooLarge)));
        assert_eq!(dear.price(&Usage::default()).unwrap(), Usdc::MAX);
    }

    #[test]
    fn canonical_form_and_hash() {
        let mut card = card();
        card.gates.insert("POST /api/v1/compute-futures/execute".into(), micros(1000));
        let text = String::from_utf8(card.canonical().unwrap()).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"gates":{"POST /api/v1/compute-futures/execute":"1000"},"models":[{"contextLength":32768,"#,
                r#""id":"local/extract","kind":"text-inference","maxOutputTokens":1024,"name":"Extractive summary","#,
                r#""per1kInputTokens":"150","per1kOutputTokens":"600","perCall":"1000"}],"version":1}"#
            )
        );
        assert_eq!(card.hash().unwrap(), keccak256(&text));
        assert_eq!(serde_json::from_str::<RateCard>(&text).unwrap(), card);
        card.models[0].per_call = micros(1001);
        assert_ne!(card.hash().unwrap(), keccak256(&text));
    }

    #[test]
    fn models_have_ids_of_their_own() {
        assert!(card().validate().is_ok());
        let twice = RateCard { models: vec![model(), model()], ..card() };
        assert!(matches!(twice.validate(), Err(RateCardError::DuplicateModel(id)) if id == "local/extract"));
        let nameless = RateCard { models: vec![ModelRate { id: String::new(), ..model() }], ..card() };
        assert!(matches!(nameless.validate(), Err(RateCardError::EmptyModelId)));
        assert_eq!(card().model("local/extract"), Some(&model()));
        assert_eq!(card().model("nobody"), None);
    }

    #[test]
    fn every_unit_has_its_price() {
        let rate = ModelRate {
            per_image: micros(7),
            per_second: micros(11),
            per_1k_characters: micros(13),
            ..ModelRate::of("m", JobKind::ImageGeneration)
        };
        let used = Usage { images: 3, seconds: 5, characters: 1001, ..Usage::tokens(9, 9) };
        assert_eq!(rate.price(&used).unwrap(), micros(21 + 55 + 14));
        assert!(!rate.is_free() && ModelRate::of("m", JobKind::Gpu).is_free());
        let text = serde_json::to_string(&rate).unwrap();
        assert!(text.contains(r#""perImage":"7""#) && text.contains(r#""per1kCharacters":"13""#), "{text}");
        assert!(!text.contains("maxSeconds"), "{text}");
    }

    #[test]
    fn an_account_pays_the_lower_of_two_cards() {
        let (then, used) = (card(), Usage::tokens(1000, 1000));
        let dearer = ModelRate { per_call: micros(5000), ..model() };
        let cheaper = ModelRate { per_call: micros(10), ..model() };
        assert_eq!(then.locked_price(&dearer, &used).unwrap(), micros(1750));
        assert_eq!(then.locked_price(&cheaper, &used).unwrap(), micros(760));
        let unknown = ModelRate { id: "new".into(), ..dearer };
        assert_eq!(then.locked_price(&unknown, &used).unwrap(), micros(5750));
        let other_kind = ModelRate { kind: JobKind::Gpu, per_call: micros(5000), ..model() };
        assert_eq!(then.locked_price(&other_kind, &used).unwrap(), micros(5750));

        let check = |list| then.check_list_amount(JobKind::TextInference, "local/extract", &used, micros(list));
        assert!(check(1750).is_ok() && check(1).is_ok());
        assert_eq!(check(1751).unwrap_err().listed, micros(1750));
        assert!(then.check_list_amount(JobKind::TextInference, "new", &used, Usdc::MAX).is_ok());
    }

    proptest! {
        #[test]
        fn more_tokens_never_cost_less_and_rounding_adds_less_than_two_micros(
            input_tokens in 0u64..1 << 32, output_tokens in 0u64..1 << 32, more in 0u64..1 << 20,
        ) {
            let price =
                |input_tokens, output_tokens| model().price(&Usage::tokens(input_tokens, output_tokens)).unwrap().micros();
            let cost = price(input_tokens, output_tokens);
            prop_assert!(cost <= price(input_tokens + more, output_tokens));
            prop_assert!(cost <= price(input_tokens, output_tokens + more));
            let exact_times_1000 = 1_000_000 + 150 * input_tokens + 600 * output_tokens;
            prop_assert!(cost * 1000 >= exact_times_1000 && cost * 1000 - exact_times_1000 < 2000);
        }

        /// The lock: never above either card.
        #[test]
        fn a_locked_price_is_the_minimum(
            then in 0u64..1 << 40, now in 0u64..1 << 40, per_then in 0u64..1 << 30, per_now in 0u64..1 << 30,
            seconds in 0u64..1 << 20, images in 0u64..1 << 20,
        ) {
            let rate = |call, second| ModelRate { per_call: micros(call), per_second: micros(second), per_image: micros(second), ..model() };
            let old = RateCard { models: vec![rate(then, per_then)], ..card() };
            let usage = Usage { seconds, images, ..Usage::default() };
            if let Ok(today) = rate(now, per_now).price(&usage) {
                let locked = old.locked_price(&rate(now, per_now), &usage).unwrap();
                let before = rate(then, per_then).price(&usage).unwrap_or(Usdc::MAX);
                prop_assert_eq!(locked, today.min(before));
                prop_assert!(old.check_list_amount(JobKind::TextInference, "local/extract", &usage, locked).is_ok());
            }
        }
    }
}
