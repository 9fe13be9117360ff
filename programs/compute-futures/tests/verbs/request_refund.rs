use crate::support::accounts::key;
use crate::support::substitute::Case;
use crate::support::*;

#[test]
fn it_starts_the_delay_the_account_was_opened_with() {
    let mut world = World::with_account();
    let (operator, owner) = (world.operator.insecure_clone(), world.owner.insecure_clone());
    // I-4: nothing the operator does since lengthens it.
    let longer = Terms { refund_delay: 30 * 86_400, ..terms() };
    world.ok(&[set_terms(key(&world.relayer), key(&operator), 1, longer)], &[&operator]);
    let requested: RefundRequested = event(&world.ok(&[request_refund(key(&owner), 1)], &[&owner]));
    let due = NOW as u64 + u64::from(DELAY);
    assert_eq!((requested.account, requested.owner, requested.refundable_at), (1 << 32 | 1, key(&owner), due));
    assert_eq!(world.account(1, 1).unwrap().refundable_at, due);
    world.set_time(NOW + 5);
    world.refused(&[request_refund(key(&owner), 1)], &[&owner], Refused::RefundAlreadyRequested);
}

#[test]
fn debits_of_work_already_done_still_land() {
    let mut world = World::with_account();
    let owner = world.owner.insecure_clone();
    world.ok(&[request_refund(key(&owner), 1)], &[&owner]);
    let posted = world.post(&[Row { sequence: 1, list_amount: 10 * USDC, discount_bps: 1000 }]);
    assert_eq!(posted.charged, 9 * USDC);
}

#[test]
fn every_wrong_account_is_refused() {
    let mut world = World::with_account();
    let (owner, other) = (world.owner.insecure_clone(), keypair("other owner"));
    world.fund(key(&other), 100 * USDC);
    world.open(1, &other, 100 * USDC, 10);
    Case {
        name: "request_refund",
        instruction: request_refund(key(&owner), 1),
        signers: &[&owner],
        before: vec![],
        twins: vec![("account", account_address(1, 2)), ("account", operator_address(1))],
        free: &[],
    }
    .check(&mut world);
}
