// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

interface ITransferFromVault {
    function deposit(uint256 amount) external returns (uint256 id);
    function depositWithAuthorization(
        address owner,
        uint256 amount,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external returns (uint256 id);
    function topUp(uint256 id, uint256 amount) external;
    function refund(uint256 id) external returns (uint256 amount);
}
