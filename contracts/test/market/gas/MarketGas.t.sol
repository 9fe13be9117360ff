// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {MarketTest} from "../utils/MarketTest.sol";

/// @notice Gas of every verb of the market as a whole transaction (`forge test --isolate`), with Circle's USDC. Written to
/// contracts/snapshots/ComputeEscrow.json; contracts/snapshots/README.md says what each pays for.
/// @dev The chain is a used one: the escrow has had sessions, both providers have earned, the meter is known. Without --isolate
/// the limits are not checked (calls share warm storage).
contract MarketGasTest is MarketTest {
    string private constant FILE = "ComputeEscrow";

    uint32 private escrowId;

    function setUp() public override {
        super.setUp();
        escrowId = _create(_terms(), 1_000 * USD);
        _close(_open(escrowId, 1 * USD), 1);
        _close(_open(_requestOther(1 * USD)), 1);
    }

    modifier isolated() {
        // In an isolated run every call is a transaction of its own: the second look at a slot is as cold as the first.
        this.probe();
        if (vm.lastCallGas().gasTotalUsed < 21_000) vm.skip(true, "gas needs --isolate");
        _;
    }

    function probe() external {}

    function _requestOther(uint48 limit) private view returns (IComputeEscrow.SessionRequest memory request) {
        request = _request(escrowId, limit);
        (request.providerId, request.contentHash) = (otherProviderId, otherContentHash);
    }

    function _snapshot(string memory name) private returns (uint256) {
        return vm.snapshotGasLastCall(FILE, name);
    }

    /// @dev Sessions of two providers, one after the other, each at most $1.
    function _sessions(uint256 count, uint32 escrows) private returns (IComputeEscrow.SessionClose[] memory rows) {
        rows = new IComputeEscrow.SessionClose[](count);
        uint32[] memory ids = new uint32[](escrows);
        ids[0] = escrowId;
        for (uint256 i = 1; i < escrows; ++i) {
            ids[i] = _create();
        }
        for (uint256 i; i < count; ++i) {
            IComputeEscrow.SessionRequest memory request =
                i % 2 == 0 ? _request(escrowId, 1 * USD) : _requestOther(1 * USD);
            request.escrowId = ids[i % escrows];
            rows[i] = _closeRow(_open(request), 654_321);
            rows[i].receiptsRoot = keccak256(abi.encode(i));
            _signCost(meterKey, rows[i], request.providerId, address(escrow));
        }
    }

    function test_OpenSession() external isolated {
        _open(escrowId, 1 * USD);
        assertLe(_snapshot("openSession"), 75_000, "openSession");
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        bytes memory signature = _signOpen(agentKey, request, agent, 0);
        vm.prank(stranger);
        escrow.openSessionWithSignature(request, agent, signature);
        _snapshot("openSessionWithSignature");
        request.meter = otherMeter;
        _open(request);
        _snapshot("openSession_new_meter");
    }

    function test_CloseSession() external isolated {
        IComputeEscrow.SessionClose[] memory rows = _sessions(1, 1);
        vm.prank(stranger);
        escrow.closeSession(rows[0]);
        _snapshot("closeSession");
    }

    function test_CloseSessions() external isolated {
        IComputeEscrow.SessionClose[] memory rows = _sessions(50, 1);
        vm.prank(stranger);
        escrow.closeSessions(rows);
        assertLe(_snapshot("closeSessions_50"), 50 * 16_000, "closeSessions");
    }

    function test_CloseSessions_OfTenEscrows() external isolated {
        IComputeEscrow.SessionClose[] memory rows = _sessions(50, 10);
        vm.prank(stranger);
        escrow.closeSessions(rows);
        assertLe(_snapshot("closeSessions_50_of_10_escrows"), 50 * 16_500, "closeSessions");
    }

    function test_Lapse() external isolated {
        IComputeEscrow.SessionClose[] memory rows = _sessions(51, 1);
        uint64[] memory ids = new uint64[](50);
        for (uint256 i; i < 50; ++i) {
            ids[i] = rows[i].sessionId;
        }
        vm.warp(block.timestamp + 2 hours);
        escrow.lapseSessions(ids);
        _snapshot("lapseSessions_50");
        escrow.lapseSession(rows[50].sessionId);
        _snapshot("lapseSession");
    }

    function test_Budget() external isolated {
        IComputeEscrow.EscrowTerms memory terms = _terms();
        _create(terms, 100 * USD);
        _snapshot("create");
        vm.prank(creator);
        escrow.fund(escrowId, 10 * USD);
        _snapshot("fund");
        vm.prank(creator);
        escrow.addAgent(escrowId, otherAgent);
        _snapshot("addAgent");
        vm.prank(creator);
        escrow.removeAgent(escrowId, otherAgent);
        _snapshot("removeAgent");
    }

    function test_Gasless() external isolated {
        IComputeEscrow.EscrowTerms memory terms = _terms();
        IComputeEscrow.FundingAuthorization memory a = _authorization(20 * USD);
        bytes memory signature = _sign3009(creatorKey, creator, address(escrow), a, escrow.createNonce(terms, a.salt));
        vm.prank(stranger);
        escrow.createWithAuthorization(terms, a, signature);
        _snapshot("createWithAuthorization");
        signature = _sign3009(creatorKey, creator, address(escrow), a, escrow.fundNonce(escrowId, creator, a.salt));
        vm.prank(stranger);
        escrow.fundWithAuthorization(escrowId, creator, a, signature);
        _snapshot("fundWithAuthorization");
        address at_ = escrow.depositAddress(terms);
        _mint(at_, 20 * USD);
        vm.prank(stranger);
        escrow.sweep(terms);
        _snapshot("sweep_first");
        _mint(at_, 20 * USD);
        vm.prank(stranger);
        escrow.sweep(terms);
        _snapshot("sweep");
    }

    function test_Exit() external isolated {
        _close(_open(escrowId, 5 * USD), 4 * USD);
        vm.prank(creator);
        escrow.refund(escrowId, 10 * USD);
        _snapshot("refund");
        _withdraw(1 * USD);
        _snapshot("withdraw_first");
        _withdraw(1 * USD);
        _snapshot("withdraw");
        vm.warp(uint256(EXPIRY) + 1);
        vm.prank(stranger);
        escrow.expire(escrowId);
        _snapshot("expire");
    }

    function test_Registry() external isolated {
        vm.prank(stranger);
        (uint32 id,) = registry.register(_content(100));
        _snapshot("register");
        vm.prank(stranger);
        registry.update(id, _content(101));
        _snapshot("update");
        vm.prank(stranger);
        registry.retire(id);
        _snapshot("retire");
    }
}
