// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IReceiveWithAuthorization} from "../../src/interfaces/IReceiveWithAuthorization.sol";
import {ITransferFromVault} from "./ITransferFromVault.sol";

/// @notice The yardstick of the gas snapshots: the vault most people would write. No operator, ceiling, discount, refund
/// delay, receipts or batches; it only takes tokens in, adds to them, and gives them back.
contract TransferFromVault is ITransferFromVault {
    using SafeERC20 for IERC20;

    struct Account {
        address owner;
        uint256 balance;
    }

    event Deposited(uint256 indexed id, address indexed owner, uint256 amount);
    event Refunded(uint256 indexed id, address indexed owner, uint256 amount);

    IERC20 public immutable TOKEN;
    uint256 public lastId;
    mapping(uint256 id => Account) public accounts;

    constructor(IERC20 token) {
        TOKEN = token;
    }

    function deposit(uint256 amount) external returns (uint256 id) {
        id = ++lastId;
        accounts[id] = Account(msg.sender, amount);
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        emit Deposited(id, msg.sender, amount);
    }

    /// @dev The same, gasless. Not part of a plain vault; here to tell Circle's share of a gasless deposit from ours.
    function depositWithAuthorization(
        address owner,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external returns (uint256 id) {
        id = ++lastId;
        accounts[id] = Account(owner, amount);
        IReceiveWithAuthorization(address(TOKEN))
            .receiveWithAuthorization(owner, address(this), amount, validAfter, validBefore, nonce, signature);
        emit Deposited(id, owner, amount);
    }

    function topUp(uint256 id, uint256 amount) external {
        accounts[id].balance += amount;
        TOKEN.safeTransferFrom(msg.sender, address(this), amount);
        emit Deposited(id, msg.sender, amount);
    }

    function refund(uint256 id) external returns (uint256 amount) {
        Account storage account = accounts[id];
        require(account.owner == msg.sender, "not owner");
        amount = account.balance;
        account.balance = 0;
        emit Refunded(id, msg.sender, amount);
        TOKEN.safeTransfer(msg.sender, amount);
    }
}
