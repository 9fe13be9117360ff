//! ProviderRegistry: one provider's life, what content is refused, every wrong account.

use provider_registry::content::{Content, Model};
use provider_registry::errors::ProviderRegistryError as No;
use provider_registry::events::{ProviderRegistered, ProviderRetired, ProviderUpdated};
use provider_registry::typed_data::content_hash;

use crate::support::*;

fn refused(world: &mut World, instruction: Instruction, signer: &Keypair, error: No) {
    world.fails(&[instruction], &[signer], 6000 + error as u32);
}

#[test]
fn a_provider_is_registered_updated_and_retired() {
    let mut world = World::bare();
    let (owner, relayer) = (world.provider.insecure_clone(), key(&world.relayer));
    let (first, second) = (content("https://a.example"), content("https://b.example"));
    let done = world.ok(&[register(relayer, key(&owner), 1, first.clone())], &[&owner]);
    let said: ProviderRegistered = event(&done);
    assert_eq!((said.provider, said.owner, said.version), (1, key(&owner), 1));
    assert_eq!((said.content_hash, &said.content), (content_hash(&first), &first));
    let stored = world.provider_state(1);
    assert_eq!((stored.owner, stored.id, stored.version, stored.retired), (key(&owner), 1, 1, 0));
    assert_eq!(stored.content_hash, content_hash(&first));

    let said: ProviderUpdated = event(&world.ok(&[update(key(&owner), 1, second.clone())], &[&owner]));
    assert_eq!((said.provider, said.owner, said.version, &said.content), (1, key(&owner), 2, &second));
    assert_eq!(world.provider_state(1).content_hash, content_hash(&second));
    // The same content again is another version all the same.
    world.ok(&[update(key(&owner), 1, second.clone())], &[&owner]);

    let said: ProviderRetired = event(&world.ok(&[retire(key(&owner), 1)], &[&owner]));
    assert_eq!((said.provider, said.owner, said.version), (1, key(&owner), 3));
    let stored = world.provider_state(1);
    assert_eq!((stored.retired, stored.content_hash, stored.owner), (1, [0; 32], key(&owner)));
    refused(&mut world, retire(key(&owner), 1), &owner, No::Retired);
    refused(&mut world, update(key(&owner), 1, second), &owner, No::Retired);
}

#[test]
fn numbers_are_given_once_and_in_order() {
    let mut world = World::bare();
    let owner = world.provider.insecure_clone();
    for wrong in [0, 2, u32::MAX] {
        let register = register(key(&world.relayer), key(&owner), wrong, content("https://a.example"));
        refused(&mut world, register, &owner, No::WrongAddress);
    }
    assert_eq!(world.register(&owner, "https://a.example"), 1);
    assert_eq!(world.register(&owner, "https://a.example"), 2);
    let again = register(key(&world.relayer), key(&owner), 2, content("https://a.example"));
    refused(&mut world, again, &owner, No::WrongAddress);
    assert_eq!((world.provider_count(), world.provider_state(2).id), (2, 2));
}

/// Lamports that somebody sent to the next address do not stand in the way.
#[test]
fn nobody_blocks_the_next_address() {
    let mut world = World::bare();
    let owner = world.provider.insecure_clone();
    world.register(&owner, "https://a.example");
    let dust = solana_account::Account { lamports: 1, ..Default::default() };
    world.set(provider_address(2), dust);
    assert_eq!(world.register(&owner, "https://a.example"), 2);
}

#[test]
fn only_the_owner_changes_anything() {
    let mut world = World::new();
    let stranger = keypair("stranger");
    refused(&mut world, update(key(&stranger), 1, content("https://a.example")), &stranger, No::NotOwner);
    refused(&mut world, retire(key(&stranger), 1), &stranger, No::NotOwner);
}

#[test]
fn content_out_of_bounds_is_refused() {
    let mut world = World::new();
    let owner = world.provider.insecure_clone();
    let model = |name: &str| Model { name: name.into(), ..content("x").models[0].clone() };
    type Fault = fn(&mut Content);
    let faults: [(Fault, No); 16] = [
        (|c| c.endpoint.clear(), No::InvalidEndpoint),
        (|c| c.endpoint = "x".repeat(257), No::InvalidEndpoint),
        (|c| c.provider_type = 3, No::InvalidProviderType),
        (|c| c.rate_limit = 0, No::InvalidRateLimit),
        (|c| c.minimum_charge = 1 << 48, No::InvalidPrice),
        (|c| c.features = vec!["x".into(); 17], No::InvalidFeatures),
        (|c| c.features = vec![String::new()], No::InvalidFeatures),
        (|c| c.features = vec!["x".repeat(65)], No::InvalidFeatures),
        (|c| c.models.clear(), No::InvalidModels),
        (
            |c| {
                let named = |n: u32| Model { name: n.to_string(), ..c.models[0].clone() };
                c.models = (0..33).map(named).collect();
                c.features.clear();
            },
            No::InvalidModels,
        ),
        (|c| c.models.push(c.models[0].clone()), No::InvalidModelName),
        (|c| c.models[0].name.clear(), No::InvalidModelName),
        (|c| c.models[0].name = "x".repeat(129), No::InvalidModelName),
        (|c| c.models[0].max_context = 0, No::InvalidMaxContext),
        (|c| c.models[0].input_price = 1 << 48, No::InvalidPrice),
        (|c| c.models[0].output_price = 1 << 48, No::InvalidPrice),
    ];
    for (fault, error) in faults {
        let mut bad = content("https://a.example");
        fault(&mut bad);
        refused(&mut world, update(key(&owner), 1, bad), &owner, error);
    }
    assert_eq!(world.provider_state(1).version, 1);
    let most = Content {
        endpoint: "x".repeat(256),
        provider_type: 2,
        rate_limit: u32::MAX,
        minimum_charge: (1 << 48) - 1,
        features: vec!["x".repeat(64)],
        models: vec![model(&"x".repeat(128)), Model { input_price: (1 << 48) - 1, max_context: 1, ..model("ü") }],
    };
    world.ok(&[update(key(&owner), 1, most.clone())], &[&owner]);
    assert_eq!(world.provider_state(1).content_hash, content_hash(&most));
    // Bytes that are no content.
    let mut cut = update(key(&owner), 1, most.clone());
    cut.data.truncate(update(key(&owner), 1, most.clone()).data.len() - 3);
    assert!(world.send(&[cut], &[&owner]).is_err());
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::new();
    let owner = world.provider.insecure_clone();
    let (other, relayer) = (keypair("other provider"), key(&world.relayer));
    world.register(&other, "https://b.example");
    Case {
        name: "register",
        instruction: register(relayer, key(&owner), 3, content("https://c.example")),
        signers: &[&owner],
        before: vec![],
        twins: vec![
            ("provider", provider_address(1)),
            ("provider", provider_address(4)),
            ("registry", provider_address(1)),
        ],
        // Whoever signs is the owner.
        free: &["payer", "owner"],
    }
    .check(&mut world);
    for (name, instruction) in
        [("update", update(key(&owner), 1, content("https://c.example"))), ("retire", retire(key(&owner), 1))]
    {
        Case {
            name,
            instruction,
            signers: &[&owner],
            before: vec![],
            twins: vec![("provider", provider_address(2)), ("provider", registry_address()), ("owner", key(&other))],
            free: &[],
        }
        .check(&mut world);
    }
}
