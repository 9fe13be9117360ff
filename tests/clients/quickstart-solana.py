#!/usr/bin/env python3
"""The three-call quickstart on Solana with the stock x402 client for Python: deposit, execute, refund. Only base URL, wallet and RPC are ours.

    scripts/need.sh x402_python
    RELAYER=http://127.0.0.1:4020 SOLANA_RPC=http://127.0.0.1:8899 KEY=<keypair in base58> target/tools/x402-python/bin/python tests/clients/quickstart-solana.py

Prints one JSON object: the three answers and what became of each payment.
"""

import asyncio
import json
import os
import sys

from solders.keypair import Keypair
from x402 import x402Client
from x402.http import decode_payment_response_header
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.svm.exact.register import register_exact_svm_client
from x402.mechanisms.svm.signers import KeypairSigner

BASE = os.environ.get("RELAYER", "http://127.0.0.1:4020")
AMOUNT = os.environ.get("AMOUNT", "50")
FILING = (
    "The company prepaid for compute in the second quarter. Prepaid compute costs ten percent less than compute bought call by call. "
    "The balance is drawn down job by job, and each job has a signed receipt. At the end of the quarter the unused balance was refunded in full."
)


async def main(key: str) -> None:
    wallet = KeypairSigner(Keypair.from_base58_string(key))
    # The client's own guard is $1 a payment unless told otherwise; a deposit is more than that.
    client = x402Client().set_spend_controls({"max_amount_per_payment": f"${float(AMOUNT) + 1}"})
    register_exact_svm_client(client, wallet, rpc_url=os.environ.get("SOLANA_RPC"))
    async with x402HttpxClient(client, base_url=f"{BASE}/api/v1/compute-futures/", timeout=60) as http:

        async def call(path: str, body: dict) -> dict:
            response = await http.post(path, json=body)
            if not response.is_success:
                sys.exit(f"{path}: HTTP {response.status_code} {response.text}")
            header = response.headers.get("PAYMENT-RESPONSE")
            payment = decode_payment_response_header(header).model_dump(by_alias=True) if header else None
            return {"answer": response.json(), "payment": payment}

        # 1. Open a $50 account: the 10% tier.
        deposit = await call("deposit", {"depositor": wallet.address, "amount": AMOUNT})
        futures_id = deposit["answer"]["computeFuture"]["id"]
        # 2. Run a job against the balance.
        messages = [{"role": "user", "content": f"Summarize this filing: {FILING}"}]
        execute = await call("execute", {"futuresId": futures_id, "type": "text-inference", "messages": messages})
        # 3. Refund what is left.
        refund = await call("refund", {"futuresId": futures_id, "caller": wallet.address})
    done = {"wallet": wallet.address, "futuresId": futures_id, "deposit": deposit, "execute": execute, "refund": refund}
    print(json.dumps(done, indent=2))


if __name__ == "__main__":
    if "KEY" not in os.environ:
        sys.exit(
            "KEY is not set: give the keypair of a wallet that holds USDC, in base58 (on a devnet: one of solana.fundedKeys in target/devnet.json)"
        )
    asyncio.run(main(os.environ["KEY"]))
