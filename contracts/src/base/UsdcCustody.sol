// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Metadata} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Metadata.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {DepositVault} from "../DepositVault.sol";
import {IComputeEscrow} from "../interfaces/IComputeEscrow.sol";
import {IReceiveWithAuthorization} from "../interfaces/IReceiveWithAuthorization.sol";

/// @title How USDC gets into ComputeEscrow and out of it: every way in is measured (I-1)
/// @dev What is assumed of the token: docs/contracts.md.
abstract contract UsdcCustody {
    using SafeERC20 for IERC20;

    IERC20 internal immutable TOKEN;
    /// @dev The code behind deposit addresses, which are clones of it with the hash of their terms as salt.
    address internal immutable VAULT = address(new DepositVault());

    /// @param token_ USDC: must have code and six decimals.
    constructor(IERC20 token_) {
        (bool success, bytes memory answer) = address(token_).staticcall(abi.encodeCall(IERC20Metadata.decimals, ()));
        if (!success || answer.length != 32 || abi.decode(answer, (uint256)) != 6) {
            revert IComputeEscrow.ComputeEscrow_InvalidToken(address(token_));
        }
        TOKEN = token_;
    }

    /// @dev Takes the caller's tokens and refuses any that arrive short.
    function _pull(uint256 amount) internal {
        uint256 before = TOKEN.balanceOf(address(this));
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        _requireReceived(before, amount);
    }

    /// @dev `receive…` pays only its caller, so nobody can take the signature to the token and leave the payer without a
    /// budget; the nonce commits to what the payer wants done with the money.
    function _pullWithAuthorization(
        address payer,
        IComputeEscrow.FundingAuthorization calldata authorization,
        bytes32 nonce,
        bytes calldata signature
    ) internal {
        uint256 before = TOKEN.balanceOf(address(this));
        IReceiveWithAuthorization(address(TOKEN))
            .receiveWithAuthorization(
                payer,
                address(this),
                authorization.amount,
                authorization.validAfter,
                authorization.validBefore,
                nonce,
                signature
            );
        _requireReceived(before, authorization.amount);
    }

    /// @dev Empties a deposit address into this contract.
    function _pullFromVault(address vault, uint256 amount) internal {
        uint256 before = TOKEN.balanceOf(address(this));
        DepositVault(vault).send(TOKEN, address(this), amount);
        _requireReceived(before, amount);
    }

    /// @dev Sends all of any token that lies at a deposit address, to whom it belongs.
    function _recover(address vault, address token_, address to) internal returns (uint256 amount) {
        amount = IERC20(token_).balanceOf(vault);
        if (amount == 0) revert IComputeEscrow.ComputeEscrow_NothingToSweep(vault);
        DepositVault(vault).send(IERC20(token_), to, amount);
    }

    function _pay(address to, uint256 amount) internal {
        if (amount != 0) TOKEN.safeTransfer(to, amount);
    }

    /// @dev The deposit address, with its code in place.
    function _vault(bytes32 salt) internal returns (address vault) {
        vault = _vaultAddress(salt);
        if (vault.code.length == 0) Clones.cloneDeterministic(VAULT, salt);
    }

    function _vaultAddress(bytes32 salt) internal view returns (address) {
        return Clones.predictDeterministicAddress(VAULT, salt);
    }

    function _requireReceived(uint256 before, uint256 expected) private view {
        uint256 received = TOKEN.balanceOf(address(this)) - before;
        if (received != expected) revert IComputeEscrow.ComputeEscrow_TokenAmountMismatch(expected, received);
    }
}
