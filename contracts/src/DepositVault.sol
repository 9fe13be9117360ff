// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// @title What stands behind every deposit address
/// @notice Holds whatever was sent to it until ComputeFutures sweeps it into credit or the owner recovers it.
/// @dev Deployed once by ComputeFutures; each deposit address is an EIP-1167 clone of it, and the CREATE2 salt commits to
/// (operator, owner, ceiling, fee), so a clone needs no storage. The immutable lives in the implementation's code, which
/// clones delegate to.
contract DepositVault {
    using SafeERC20 for IERC20;

    /// @notice Anyone but ComputeFutures called.
    error DepositVault_NotController(address caller);

    address private immutable CONTROLLER = msg.sender;

    /// @notice Sends `amount` of `token` to `to`. Only ComputeFutures, which decides whether that is right.
    function send(IERC20 token, address to, uint256 amount) external {
        if (msg.sender != CONTROLLER) revert DepositVault_NotController(msg.sender);
        token.safeTransfer(to, amount);
    }
}
