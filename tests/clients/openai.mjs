#!/usr/bin/env node
// The official `openai` client for Node through `compute-futures proxy`. Only base URL and key are set, by the environment.
import OpenAI from 'openai';

const client = new OpenAI({ maxRetries: 0 });
const messages = [{ role: 'user', content: 'Revenue rose by a tenth. Costs fell. The year was good for everyone.' }];
const models = [];
for await (const model of client.models.list()) models.push(model.id);
const chat = await client.chat.completions.create({ model: 'auto', messages, max_tokens: 64 });
let streamed = '';
let chunks = 0;
for await (const chunk of await client.chat.completions.create({ model: 'auto', messages, max_tokens: 64, stream: true })) {
  streamed += chunk.choices[0]?.delta?.content ?? '';
  chunks += 1;
}
const embeddings = await client.embeddings.create({ model: 'auto', input: ['one', 'two'] });
const vectors = embeddings.data.map(({ embedding }) => Array.from(embedding));
let refused;
try {
  await client.chat.completions.create({ model: 'no/such-model', messages });
} catch (error) {
  refused = { status: error.status, code: error.code, message: error.message };
}
const text = chat.choices[0].message.content;
console.log(JSON.stringify({ models, text, usage: chat.usage, streamed, chunks, vectors, refused }));
