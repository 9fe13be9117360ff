#!/usr/bin/env python3
"""Three endpoints with the stock x402 client for Python, paid call by call: a chat, a picture, a transcription.

    RELAYER=http://127.0.0.1:4020 NETWORK=eip155:8453 KEY=0x… target/tools/x402-python/bin/python tests/clients/three_endpoints.py

On Solana KEY is a keypair in base58, and SOLANA_RPC is needed. Prints one JSON object by path.
"""

import asyncio
import json
import os

from x402 import x402Client
from x402.http import decode_payment_response_header
from x402.http.clients.httpx import x402HttpxClient

CALLS = {
    "text-inference": {"messages": [{"role": "user", "content": "Revenue rose. Costs fell. The year was good."}]},
    "image-generation": {"prompt": "a mountain lake"},
    "speech-to-text": {"audio": "data:audio/wav;base64,UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="},
}


def client() -> x402Client:
    client = x402Client()
    if os.environ["NETWORK"].startswith("solana:"):
        from solders.keypair import Keypair
        from x402.mechanisms.svm.exact.register import register_exact_svm_client
        from x402.mechanisms.svm.signers import KeypairSigner

        signer = KeypairSigner(Keypair.from_base58_string(os.environ["KEY"]))
        register_exact_svm_client(client, signer, rpc_url=os.environ["SOLANA_RPC"])
    else:
        from eth_account import Account
        from x402.mechanisms.evm import EthAccountSigner
        from x402.mechanisms.evm.exact import register_exact_evm_client

        register_exact_evm_client(client, EthAccountSigner(Account.from_key(os.environ["KEY"])))
    return client


async def main() -> None:
    done = {}
    async with x402HttpxClient(client(), base_url=f"{os.environ['RELAYER']}/api/v1/compute/", timeout=60) as http:
        for path, body in CALLS.items():
            response = await http.post(path, json=body)
            header = response.headers.get("PAYMENT-RESPONSE")
            payment = decode_payment_response_header(header).model_dump(by_alias=True) if header else None
            done[path] = {"status": response.status_code, "body": response.json(), "payment": payment}
    print(json.dumps(done))


asyncio.run(main())
