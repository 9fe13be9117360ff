use crate::support::*;

#[test]
fn agents_come_and_go_and_keep_their_nonce() {
    let mut world = World::with_escrow();
    let (creator, agent, relayer) = (world.creator.insecure_clone(), keypair("agent 2"), key(&world.relayer));
    let add = add_agent(relayer, key(&creator), 1, key(&agent));
    let remove = remove_agent(key(&creator), 1, key(&agent));
    let added: AgentAdded = event(&world.ok(std::slice::from_ref(&add), &[&creator]));
    assert_eq!((added.escrow, added.agent), (1, key(&agent)));
    world.refused(std::slice::from_ref(&add), &[&creator], Refused::AgentUnchanged);

    let request = world.request(USDC, DEADLINE);
    let sign = signed(&agent, &opening_digest(&request, key(&agent), 0));
    world.ok(&[sign, open_session_with_signature(relayer, key(&agent), &request, 1)], &[]);
    let removed: AgentRemoved = event(&world.ok(std::slice::from_ref(&remove), &[&creator]));
    assert_eq!((removed.escrow, removed.agent), (1, key(&agent)));
    let record = world.agent_state(1, key(&agent)).unwrap();
    assert_eq!((record.allowed, record.nonce), (0, 1));
    world.refused(&[remove], &[&creator], Refused::AgentUnchanged);
    world.refused(&[open_session(relayer, key(&agent), &request, 2)], &[&agent], Refused::NotAgent);

    world.ok(&[add], &[&creator]);
    let record = world.agent_state(1, key(&agent)).unwrap();
    assert_eq!((record.allowed, record.nonce), (1, 1)); // I-5
    world.ok(&[open_session(relayer, key(&agent), &request, 2)], &[&agent]);
}

#[test]
fn only_the_creator_decides() {
    let mut world = World::with_escrow();
    let (agent, relayer) = (world.agent.insecure_clone(), key(&world.relayer));
    let add = add_agent(relayer, key(&agent), 1, key(&world.meter));
    world.refused(&[add], &[&agent], Refused::NotCreator);
    world.refused(&[remove_agent(key(&agent), 1, key(&agent))], &[&agent], Refused::NotCreator);
}

#[test]
fn nobody_and_lists_that_are_none() {
    let mut world = World::with_escrow();
    let (creator, relayer) = (world.creator.insecure_clone(), key(&world.relayer));
    let open = world.open_terms();
    assert_eq!(world.create(&open, USDC), 2);
    world.refused(&[add_agent(relayer, key(&creator), 1, Pubkey::default())], &[&creator], Refused::InvalidAgent);
    world.refused(&[add_agent(relayer, key(&creator), 2, key(&world.agent))], &[&creator], Refused::InvalidAgent);
}

/// The agent account does not say whose it is: its address does.
#[test]
fn one_agents_account_is_not_anothers() {
    let mut world = World::with_escrow();
    let (creator, other, relayer) = (world.creator.insecure_clone(), keypair("agent 2"), key(&world.relayer));
    let mut add = add_agent(relayer, key(&creator), 1, key(&other));
    add.accounts[3].pubkey = address(agent_address(1, key(&world.agent)));
    world.refused(&[add], &[&creator], Refused::WrongAgentAccount);
    let mut remove = remove_agent(key(&creator), 1, key(&other));
    remove.accounts[2].pubkey = address(agent_address(1, key(&world.agent)));
    world.refused(&[remove], &[&creator], Refused::WrongAgentAccount);
    assert_eq!(world.agent_state(1, key(&world.agent)).unwrap().allowed, 1);
}

#[test]
fn its_rent_comes_back_once_the_escrow_is_gone() {
    let mut world = World::with_escrow();
    let (relayer, agent, creator) = (world.relayer.insecure_clone(), key(&world.agent), key(&world.creator));
    let close = close_agent(key(&relayer), 1, agent);
    world.refused(std::slice::from_ref(&close), &[], Refused::EscrowOpen);
    world.set_time(EXPIRY as i64 + 1);
    world.refused(std::slice::from_ref(&close), &[], Refused::EscrowOpen);
    world.ok(&[expire(1, creator, key(&relayer), None)], &[]);
    let mut elsewhere = close.clone();
    elsewhere.accounts[2].pubkey = address(escrow_address(2));
    world.refused(&[elsewhere], &[], Refused::EscrowOpen);
    let (lamports, stored) = (world.lamports(key(&relayer)), world.lamports(agent_address(1, agent)));
    let done = world.ok(&[close], &[]);
    assert!(recorded(&done).is_empty());
    assert_eq!(world.lamports(key(&relayer)), lamports + stored - done.fee);
    assert!(world.agent_state(1, agent).is_none());
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_escrow();
    let (creator, relayer) = (world.creator.insecure_clone(), world.relayer.insecure_clone());
    let (agent, other, stranger) = (key(&world.agent), keypair("agent 2"), keypair("other creator"));
    // Somebody else's escrow 2 with the same agent.
    world.fund(key(&stranger), USDC);
    let terms = EscrowTerms { creator: key(&stranger), ..world.terms() };
    world.ok(&[create(key(&relayer), 2, &terms, USDC)], &[&stranger]);
    Case {
        name: "add_agent",
        instruction: add_agent(key(&relayer), key(&creator), 1, key(&other)),
        signers: &[&creator],
        before: vec![],
        twins: vec![
            ("creator", key(&stranger)),
            ("escrow", escrow_address(2)),
            ("agent_account", agent_address(1, agent)),
            ("agent_account", agent_address(2, key(&other))),
        ],
        free: &["payer"],
    }
    .check(&mut world);
    Case {
        name: "remove_agent",
        instruction: remove_agent(key(&creator), 1, agent),
        signers: &[&creator],
        before: vec![],
        twins: vec![
            ("creator", key(&stranger)),
            ("escrow", escrow_address(2)),
            ("agent_account", agent_address(2, agent)),
            ("agent_account", agent_address(1, key(&other))),
        ],
        free: &[],
    }
    .check(&mut world);
    // The relayer signs every transaction here; somebody else paid for this one.
    let opener = keypair("opener");
    world.svm.airdrop(&address(key(&opener)), 1 << 32).unwrap();
    let third = key(&keypair("agent 3"));
    world.ok(&[add_agent(key(&opener), key(&creator), 1, third)], &[&opener, &creator]);
    world.set_time(EXPIRY as i64 + 1);
    world.ok(&[expire(1, key(&creator), key(&relayer), None)], &[]);
    Case {
        name: "close_agent",
        instruction: close_agent(key(&opener), 1, third),
        signers: &[&opener],
        before: vec![],
        twins: vec![
            ("rent_payer", key(&creator)),
            ("agent_account", agent_address(2, agent)),
            ("agent_account", agent_address(1, agent)),
            ("escrow", escrow_address(2)),
        ],
        free: &[],
    }
    .check(&mut world);
}
