// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {IUsdc} from "../../utils/IUsdc.sol";
import {MarketHandler} from "./MarketHandler.sol";
import {EscrowModel, ProviderModel, SessionModel} from "./MarketModel.sol";

/// @notice The promises about escrows and sessions after every sequence of calls (README.md in this folder).
contract MarketInvariantsTest is Test {
    IUsdc private constant USDC = IUsdc(0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913);

    IComputeEscrow private escrow;
    IProviderRegistry private registry;
    MarketHandler private handler;

    function setUp() external {
        vm.chainId(8453);
        vm.warp(1_800_000_000);
        vm.loadAllocs("contracts/fixtures/usdc.alloc.json");
        registry = IProviderRegistry(vm.deployCode("ProviderRegistry.sol:ProviderRegistry"));
        escrow = IComputeEscrow(vm.deployCode("ComputeEscrow.sol:ComputeEscrow", abi.encode(USDC, registry)));
        handler = new MarketHandler(registry, escrow);

        bytes4[] memory verbs = new bytes4[](22);
        verbs[0] = MarketHandler.register.selector;
        verbs[1] = MarketHandler.update.selector;
        verbs[2] = MarketHandler.retire.selector;
        verbs[3] = MarketHandler.create.selector;
        verbs[4] = MarketHandler.fund.selector;
        verbs[5] = MarketHandler.sweep.selector;
        verbs[6] = MarketHandler.recover.selector;
        verbs[7] = MarketHandler.donate.selector;
        verbs[8] = MarketHandler.setAgent.selector;
        verbs[9] = MarketHandler.openSession.selector;
        verbs[10] = MarketHandler.closeSession.selector;
        verbs[11] = MarketHandler.closeSessions.selector;
        verbs[12] = MarketHandler.lapseSession.selector;
        verbs[13] = MarketHandler.lapseSessions.selector;
        verbs[14] = MarketHandler.refund.selector;
        verbs[15] = MarketHandler.expire.selector;
        verbs[16] = MarketHandler.withdraw.selector;
        verbs[17] = MarketHandler.wait.selector;
        // Sessions are what everything else is about: more often than the rest.
        verbs[18] = MarketHandler.openSession.selector;
        verbs[19] = MarketHandler.openSession.selector;
        verbs[20] = MarketHandler.openSession.selector;
        verbs[21] = MarketHandler.create.selector;
        targetSelector(FuzzSelector(address(handler), verbs));
        targetContract(address(handler));
    }

    /// I-1, exactly: what the contract holds is budgets, earnings and what was sent to it by mistake.
    function invariant_I1_Solvency() external view {
        uint256 owed = handler.donated();
        for (uint32 id = 1; id <= escrow.escrowCount(); ++id) {
            IComputeEscrow.Escrow memory e = escrow.escrow(id);
            owed += uint256(e.unreserved) + e.reserved;
        }
        for (uint32 id = 1; id <= registry.providerCount(); ++id) {
            owed += escrow.earnings(id);
        }
        assertEq(USDC.balanceOf(address(escrow)), owed);
    }

    /// I-4: creators hold what they paid less what was spent; every budget adds up.
    function invariant_I4_Exit() external view {
        for (uint256 i; i < handler.creatorCount(); ++i) {
            address creator = handler.creators(i);
            assertEq(USDC.balanceOf(creator), handler.purse(creator));
        }
        for (uint32 id = 1; id <= handler.escrows(); ++id) {
            IComputeEscrow.Escrow memory e = escrow.escrow(id);
            EscrowModel memory m = handler.escrowModel(id);
            assertEq(e.creator, m.creator);
            assertEq(e.meter, m.meter);
            assertEq(e.openToAll, m.openToAll);
            assertEq(e.expiry, m.expiry);
            assertEq(e.sessionLimit, m.sessionLimit);
            assertEq(e.unreserved, m.unreserved);
            assertEq(e.reserved, m.reserved);
            assertEq(e.closed, m.closed);
            assertEq(e.sessionCount, m.sessions);
            assertEq(m.funded, m.unreserved + m.reserved + m.spent + m.returned);
        }
    }

    /// I-10 and I-5: no session costs more than its limit, each is over once, and what is reserved is what open ones hold.
    function invariant_I10_Sessions() external view {
        uint256[] memory reserved = new uint256[](handler.escrows() + 1);
        for (uint256 i; i < handler.sessionCount(); ++i) {
            uint64 id = handler.sessions(i);
            SessionModel memory m = handler.sessionModel(id);
            assertEq(uint8(escrow.session(id).state), m.state);
            assertLe(m.cost, m.limit);
            if (m.state == uint8(IComputeEscrow.SessionState.Open)) reserved[m.escrowId] += m.limit;
        }
        for (uint32 id = 1; id <= handler.escrows(); ++id) {
            assertEq(escrow.escrow(id).reserved, reserved[id]);
        }
    }

    /// I-10: earnings are the costs of sessions, nothing else.
    function invariant_I10_Earnings() external view {
        for (uint32 id = 1; id <= handler.providers(); ++id) {
            ProviderModel memory m = handler.providerModel(id);
            assertEq(escrow.earnings(id), m.earned - m.withdrawn);
        }
    }

    /// I-11: whatever the provider did since, an open session is what it was; the registry says what was published last.
    function invariant_I11_Prices() external view {
        for (uint256 i; i < handler.sessionCount(); ++i) {
            uint64 id = handler.sessions(i);
            SessionModel memory m = handler.sessionModel(id);
            if (m.state == uint8(IComputeEscrow.SessionState.Closed)) continue;
            IComputeEscrow.Session memory s = escrow.session(id);
            assertEq(s.providerId, m.providerId);
            assertEq(s.providerVersion, m.providerVersion);
            assertEq(s.meter, m.meter);
            assertEq(s.limit, m.limit);
            assertEq(s.deadline, m.deadline);
        }
        for (uint32 id = 1; id <= handler.providers(); ++id) {
            ProviderModel memory m = handler.providerModel(id);
            IProviderRegistry.Provider memory p = registry.provider(id);
            assertEq(p.version, m.version);
            assertEq(p.owner, m.owner);
            assertEq(p.contentHash, m.retired ? bytes32(0) : m.hash);
        }
    }

    /// I-7: the receipts of every closed session are proved by what is left of it.
    function invariant_I7_Receipts() external view {
        for (uint256 i; i < handler.sessionCount(); ++i) {
            uint64 id = handler.sessions(i);
            SessionModel memory m = handler.sessionModel(id);
            bytes32[] memory proof = new bytes32[](1);
            proof[0] = m.sibling;
            bool closed = m.state == uint8(IComputeEscrow.SessionState.Closed);
            assertEq(escrow.verifyReceipt(id, m.receipt, proof), closed);
        }
    }

    /// @dev I-4 at the end of every run: with nobody's help every budget goes home, every provider is paid, and only what was
    /// donated remains.
    function afterInvariant() external {
        vm.warp(block.timestamp + 200 days);
        for (uint32 id = 1; id <= handler.escrows(); ++id) {
            if (!escrow.escrow(id).closed) handler.exit(id);
        }
        for (uint256 i; i < handler.creatorCount(); ++i) {
            assertEq(USDC.balanceOf(handler.creators(i)), handler.purse(handler.creators(i)));
        }
        for (uint32 id = 1; id <= handler.providers(); ++id) {
            uint64 earned = escrow.earnings(id);
            address owner = registry.providerOwner(id);
            vm.prank(owner);
            escrow.withdraw(id, owner, earned);
        }
        assertEq(USDC.balanceOf(address(escrow)), handler.donated());
    }
}
