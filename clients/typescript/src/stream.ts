// A stream of chat chunks is checked while it passes: the event `receipt` repeats the answer as a whole, which must be the text that was
// streamed, and whose hash the receipt attests.
import { keccak256, stringToHex, type Hex } from 'viem';

import { canonical, ReceiptError, type SignedReceipt } from './receipt.js';

interface Last {
  answer: Record<string, unknown>;
  payment: { receipt: SignedReceipt };
}

/** Reads server-sent events out of bytes, however they are cut. */
class Events {
  #decoder = new TextDecoder();
  #line = '';
  #receipt = false;
  #text = '';
  last: Last | undefined;

  feed(bytes?: Uint8Array): void {
    const lines = (this.#line + (bytes ? this.#decoder.decode(bytes, { stream: true }) : this.#decoder.decode() + '\n')).split('\n');
    this.#line = lines.pop() as string;
    for (const line of lines) this.#read(line.trimEnd());
  }

  #read(line: string): void {
    if (line === '') this.#receipt = false;
    else if (line.startsWith('event:')) this.#receipt = line.slice(6).trim() === 'receipt';
    else if (line.startsWith('data:') && line.slice(5).trim() !== '[DONE]') {
      const data = JSON.parse(line.slice(5)) as { choices?: { delta?: { content?: string } }[] };
      if (this.#receipt) this.last = data as unknown as Last;
      else this.#text += data.choices?.[0]?.delta?.content ?? '';
    }
  }

  /** The receipt and the hash of what it must attest. */
  finish(): { signed: SignedReceipt; output: Hex } {
    this.feed();
    if (!this.last?.payment?.receipt) throw new ReceiptError('the answer holds no receipt');
    const covered = (this.last.answer['compute'] ?? this.last.answer) as { choices?: { message?: { content?: string } }[] };
    const text = covered.choices?.[0]?.message?.content ?? '';
    if (text !== this.#text) throw new ReceiptError('the receipt covers another text than the one that was streamed');
    return { signed: this.last.payment.receipt, output: keccak256(stringToHex(canonical(covered))) };
  }
}

/** The same stream; it ends in an error when `check` throws. */
export function passing(response: Response, check: (signed: SignedReceipt, output: Hex) => Promise<void>): Response {
  const events = new Events();
  const body = response.body?.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({
      transform(piece, controller) {
        events.feed(piece);
        controller.enqueue(piece);
      },
      async flush() {
        const { signed, output } = events.finish();
        await check(signed, output);
      },
    }),
  );
  return new Response(body ?? null, { status: response.status, headers: response.headers });
}
