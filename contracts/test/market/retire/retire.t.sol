// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IComputeEscrow} from "../../../src/interfaces/IComputeEscrow.sol";
import {IProviderRegistry} from "../../../src/interfaces/IProviderRegistry.sol";
import {MarketTest} from "../utils/MarketTest.sol";

contract RetireTest is MarketTest {
    function testFuzz_RevertWhen_TheCallerIsNotItsOwner(address caller) external {
        vm.assume(caller != providerOwner);
        vm.expectRevert(
            abi.encodeWithSelector(IProviderRegistry.ProviderRegistry_NotOwner.selector, providerId, caller)
        );
        vm.prank(caller);
        registry.retire(providerId);
    }

    function test_RevertWhen_ItIsUnknownOrRetired() external {
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.ProviderRegistry_UnknownProvider.selector, 9));
        registry.retire(9);
        vm.startPrank(providerOwner);
        registry.retire(providerId);
        vm.expectRevert(abi.encodeWithSelector(IProviderRegistry.ProviderRegistry_Retired.selector, providerId));
        registry.retire(providerId);
        vm.stopPrank();
    }

    function test_WhenTheOwnerRetiresIt() external {
        uint32 escrowId = _create();
        uint64 sessionId = _open(escrowId, 5 * USD);
        vm.expectEmit(address(registry));
        emit IProviderRegistry.ProviderRetired(providerId, providerOwner, 1);
        vm.prank(providerOwner);
        registry.retire(providerId);
        IProviderRegistry.Provider memory p = registry.provider(providerId);
        assertTrue(p.retired);
        assertEq(p.contentHash, bytes32(0));
        assertEq(p.owner, providerOwner);

        // No new session, whatever hash is named; the open one is closed, its money is its owner's.
        IComputeEscrow.SessionRequest memory request = _request(escrowId, 1 * USD);
        bytes32[2] memory hashes = [contentHash, bytes32(0)];
        for (uint256 i; i < 2; ++i) {
            request.contentHash = hashes[i];
            vm.expectRevert(
                abi.encodeWithSelector(
                    IComputeEscrow.ComputeEscrow_ProviderChanged.selector, providerId, bytes32(0), hashes[i]
                )
            );
            _open(request);
        }
        _close(sessionId, 3 * USD);
        _withdraw(3 * USD);
        assertEq(USDC.balanceOf(providerOwner), 3 * USD);
    }
}
