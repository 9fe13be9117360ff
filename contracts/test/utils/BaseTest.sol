// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";

import {IComputeFutures} from "../../src/interfaces/IComputeFutures.sol";
import {IUsdc} from "./IUsdc.sol";

/// @notice Circle's USDC at its Base address, ComputeFutures, two operators with the default tiers, and the words tests speak.
abstract contract BaseTest is Test {
    IUsdc internal constant USDC = IUsdc(0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913);
    address internal constant MINTER = 0x3bEA5F24710dC4faC252Ce13110eec72561a6105;
    address internal constant PAUSER = 0x00A1ecD8957Afae4CB836099ad007FFAC879A46f;
    address internal constant BLACKLISTER = 0x6281Ae0BE737BAEa872AfaB96A1c70C180e45227;

    uint56 internal constant USD = 1e6;
    uint56 internal constant NO_LIMIT = type(uint56).max;
    uint32 internal constant REFUND_DELAY = 1 days;
    bytes32 internal constant ROOT = keccak256("receipts");

    bytes32 internal constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );

    IComputeFutures internal futures;
    address internal operator = makeAddr("operator");
    address internal otherOperator = makeAddr("other operator");
    address internal stranger = makeAddr("stranger");
    address internal owner;
    uint256 internal ownerKey;
    address internal delegate;
    uint256 internal delegateKey;
    uint32 internal operatorIndex;
    uint32 internal otherIndex;

    function setUp() public virtual {
        vm.chainId(8453);
        vm.warp(1_800_000_000);
        vm.loadAllocs("contracts/fixtures/usdc.alloc.json");
        (owner, ownerKey) = makeAddrAndKey("owner");
        (delegate, delegateKey) = makeAddrAndKey("delegate");
        futures = _deploy(address(USDC));
        operatorIndex = _register(operator);
        otherIndex = _register(otherOperator);
        _fund(owner, 10_000 * USD);
        _fund(stranger, 10_000 * USD);
    }

    // ------------------------------------------------------------------ setup

    /// @dev The artifact, so that tests run what is deployed, whatever they are compiled with.
    function _deploy(address token) internal returns (IComputeFutures) {
        return IComputeFutures(vm.deployCode("ComputeFutures.sol:ComputeFutures", abi.encode(token)));
    }

    function _terms() internal pure returns (IComputeFutures.Terms memory terms) {
        terms.refundDelay = REFUND_DELAY;
        terms.minimumDeposit = 1 * USD;
        terms.rateCardHash = keccak256("rate card");
        terms.tiers = new IComputeFutures.Tier[](3);
        terms.tiers[0] = IComputeFutures.Tier(10 * USD, 500);
        terms.tiers[1] = IComputeFutures.Tier(50 * USD, 1000);
        terms.tiers[2] = IComputeFutures.Tier(200 * USD, 1500);
    }

    function _register(address who) internal returns (uint32 index) {
        vm.prank(who);
        (index,) = futures.setTerms(_terms());
    }

    function _mint(address to, uint256 amount) internal {
        vm.prank(MINTER);
        USDC.mint(to, amount);
    }

    /// @dev Tokens and an allowance for them.
    function _fund(address to, uint256 amount) internal {
        _mint(to, amount);
        vm.prank(to);
        USDC.approve(address(futures), type(uint256).max);
    }

    function _open(uint56 amount, uint56 ceiling) internal returns (uint64 accountId) {
        vm.prank(owner);
        accountId = futures.deposit(operatorIndex, owner, amount, ceiling);
    }

    /// @dev $100 at 10%, free to be spent.
    function _open() internal returns (uint64) {
        return _open(100 * USD, NO_LIMIT);
    }

    function _openOther(uint56 amount) internal returns (uint64) {
        vm.prank(stranger);
        return futures.deposit(otherIndex, stranger, amount, amount);
    }

    // ------------------------------------------------------------------ verbs

    function _row(uint64 accountId, uint56 listAmount, uint16 bps)
        internal
        pure
        returns (IComputeFutures.Debit[] memory rows)
    {
        rows = new IComputeFutures.Debit[](1);
        rows[0] = IComputeFutures.Debit(accountId, listAmount, bps);
    }

    function _post(IComputeFutures.Debit[] memory rows) internal returns (uint40 batchNumber) {
        batchNumber = futures.operator(operatorIndex).lastBatch + 1;
        vm.prank(operator);
        futures.postDebits(batchNumber, ROOT, uint32(rows.length), rows);
    }

    function _charge(uint64 accountId, uint56 listAmount) internal returns (uint40) {
        return _post(_row(accountId, listAmount, 0));
    }

    function _requestRefund(uint64 accountId) internal returns (uint40 refundableAt) {
        vm.prank(owner);
        futures.requestRefund(accountId);
        return futures.account(accountId).refundableAt;
    }

    function _close(uint64 accountId) internal {
        vm.prank(operator);
        futures.closeAccount(accountId);
    }

    function _depositTerms(uint56 ceiling, uint56 fee) internal view returns (IComputeFutures.DepositTerms memory) {
        return IComputeFutures.DepositTerms(operatorIndex, owner, ceiling, fee);
    }

    // ------------------------------------------------------------- signatures

    function _authorization(uint64 accountId, uint56 amount, uint56 ceiling)
        internal
        view
        returns (IComputeFutures.DepositAuthorization memory)
    {
        return IComputeFutures.DepositAuthorization({
            operatorIndex: operatorIndex,
            owner: owner,
            accountId: accountId,
            amount: amount,
            ceiling: ceiling,
            validAfter: 0,
            validBefore: block.timestamp + 1 hours,
            salt: keccak256("salt")
        });
    }

    function _nonce(IComputeFutures.DepositAuthorization memory a) internal pure returns (bytes32) {
        return keccak256(abi.encode(a.operatorIndex, a.owner, a.accountId, a.ceiling, a.salt));
    }

    /// @dev The owner's EIP-3009 signature for `to` (the contract, unless a test says otherwise).
    function _sign3009(uint256 key, IComputeFutures.DepositAuthorization memory a, address to)
        internal
        view
        returns (bytes memory)
    {
        bytes32 body = keccak256(
            abi.encode(RECEIVE_TYPEHASH, a.owner, to, uint256(a.amount), a.validAfter, a.validBefore, _nonce(a))
        );
        return _sign(key, keccak256(abi.encodePacked("\x19\x01", USDC.DOMAIN_SEPARATOR(), body)));
    }

    function _sign3009(uint256 key, IComputeFutures.DepositAuthorization memory a)
        internal
        view
        returns (bytes memory)
    {
        return _sign3009(key, a, address(futures));
    }

    function _domain(uint256 chainId, address verifyingContract) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("ComputeFutures"),
                keccak256("1"),
                chainId,
                verifyingContract
            )
        );
    }

    function _ceilingDigest(bytes32 domain, uint64 accountId, uint56 ceiling) internal pure returns (bytes32) {
        bytes32 typeHash = keccak256("SpendCeiling(uint64 accountId,uint56 ceiling)");
        return keccak256(abi.encodePacked("\x19\x01", domain, keccak256(abi.encode(typeHash, accountId, ceiling))));
    }

    function _signCeiling(uint256 key, uint64 accountId, uint56 ceiling) internal view returns (bytes memory) {
        return _sign(key, _ceilingDigest(_domain(block.chainid, address(futures)), accountId, ceiling));
    }

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    // ----------------------------------------------------------------- checks

    function _account(uint64 accountId) internal view returns (IComputeFutures.Account memory) {
        return futures.account(accountId);
    }

    function _earnings() internal view returns (uint64) {
        return futures.operator(operatorIndex).earnings;
    }

    function _expectRevert(bytes4 selector) internal {
        vm.expectPartialRevert(selector);
    }
}
