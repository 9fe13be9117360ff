// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The one EIP-3009 function ComputeFutures calls
/// @dev Circle's FiatTokenV2_2 overload with signature bytes: contract wallets (EIP-1271) can sign too.
interface IReceiveWithAuthorization {
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external;
}
