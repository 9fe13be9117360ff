//! The hash of a content: EIP-712's struct hash, the same on both chains. The same vectors as everywhere: `tests/vectors/market.json`.

use compute_program_common::typed_data::{structure, word};
use solana_keccak_hasher::{hash, hashv};

use crate::content::{Content, Model};

const CONTENT_TYPE: &[u8] = b"ProviderContent(string endpoint,uint8 providerType,uint32 rateLimit,uint48 minimumCharge,string[] features,Model[] models)Model(string name,uint48 inputPrice,uint48 outputPrice,uint32 maxContext)";
const MODEL_TYPE: &[u8] = b"Model(string name,uint48 inputPrice,uint48 outputPrice,uint32 maxContext)";

/// What the registry stores, and what a session names (I-11).
pub fn content_hash(content: &Content) -> [u8; 32] {
    let features: Vec<_> = content.features.iter().map(|feature| hash(feature.as_bytes()).to_bytes()).collect();
    let models: Vec<_> = content.models.iter().map(model_hash).collect();
    structure(
        CONTENT_TYPE,
        &[
            &hash(content.endpoint.as_bytes()).to_bytes(),
            &word(content.provider_type.into()),
            &word(content.rate_limit.into()),
            &word(content.minimum_charge),
            &list(&features),
            &list(&models),
        ],
    )
}

fn model_hash(model: &Model) -> [u8; 32] {
    let name = hash(model.name.as_bytes()).to_bytes();
    let (input, output) = (word(model.input_price), word(model.output_price));
    structure(MODEL_TYPE, &[&name, &input, &output, &word(model.max_context.into())])
}

/// An array is the hash of its members' hashes.
fn list(members: &[[u8; 32]]) -> [u8; 32] {
    hashv(&[members.as_flattened()]).to_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    fn text(of: &Value) -> String {
        of.as_str().unwrap().to_owned()
    }

    fn number(of: &Value) -> u64 {
        of.as_u64().unwrap()
    }

    /// A content of the vectors.
    fn content(of: &Value) -> Content {
        let model = |model: &Value| Model {
            name: text(&model["name"]),
            input_price: number(&model["inputPrice"]),
            output_price: number(&model["outputPrice"]),
            max_context: u32::try_from(number(&model["maxContext"])).unwrap(),
        };
        Content {
            endpoint: text(&of["endpoint"]),
            provider_type: u8::try_from(number(&of["providerType"])).unwrap(),
            rate_limit: u32::try_from(number(&of["rateLimit"])).unwrap(),
            minimum_charge: number(&of["minimumCharge"]),
            features: of["features"].as_array().unwrap().iter().map(text).collect(),
            models: of["models"].as_array().unwrap().iter().map(model).collect(),
        }
    }

    #[test]
    fn contents_hash_as_everywhere() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/market.json");
        let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let contents = vectors["contents"].as_array().unwrap();
        assert!(!contents.is_empty());
        for case in contents {
            let content = content(case);
            content.check().unwrap();
            let hex: String = content_hash(&content).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(format!("0x{hex}"), text(&case["hash"]));
        }
    }
}
