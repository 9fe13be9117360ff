// The three calls of the quickstart with the stock client; only base URL and wallet are ours. Prints what came back.
//   node quickstart.mjs <relayer> <private key>
import { wrapFetchWithPayment, x402Client } from "@x402/fetch";
import { ExactEvmScheme } from "@x402/evm";
import { privateKeyToAccount } from "viem/accounts";

const [BASE, key] = process.argv.slice(2);
const account = privateKeyToAccount(key);
// Stock clients pay at most $1 a call unless their owner says otherwise.
const wallet = new x402Client().setSpendControls({ maxAmountPerPayment: "$60" });
wallet.register("eip155:*", new ExactEvmScheme(account));

const answers = [];
const fetchPay = wrapFetchWithPayment(async (request) => {
  const response = await fetch(request);
  const header = response.headers.get("payment-response");
  const report = header ? JSON.parse(Buffer.from(header, "base64").toString()) : null;
  answers.push({ status: response.status, report, body: await response.clone().json() });
  return response;
}, wallet);

// 1. Open a $50 account — lands in the 10% tier ($0.01 to set up)
const acct = await fetchPay(`${BASE}/api/v1/compute-futures/deposit`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ depositor: account.address, amount: "50" }),
}).then(r => r.json());
const futuresId = acct.computeFuture.id; // "CFE-ABC12345"
// 2. Run jobs against the balance — $0.001 settlement, discount applied
const job = await fetchPay(`${BASE}/api/v1/compute-futures/execute`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({
    futuresId,
    type: "text-inference",
    messages: [{ role: "user", content: "Summarize this filing: revenue rose. Costs fell. The board is pleased." }],
  }),
}).then(r => r.json());
// 3. Refund the unused balance anytime (depositor-only)
const refund = await fetchPay(`${BASE}/api/v1/compute-futures/refund`, {
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ futuresId, caller: account.address }),
}).then(r => r.json());

console.log(JSON.stringify({ acct, job, refund, answers }));
