#!/usr/bin/env node
// Speech both ways with the official `openai` client for Node through `compute-futures proxy`. Only base URL and key are set, by the
// environment. Prints what came back, and what was said to a file that is no recording.
import OpenAI, { toFile } from 'openai';

const client = new OpenAI({ maxRetries: 0 });
const wav = Buffer.from('UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=', 'base64');
const spoken = await client.audio.speech.create({ model: 'auto', voice: 'alloy', input: 'Hello.', response_format: 'mp3' });
const audio = Buffer.from(await spoken.arrayBuffer()).toString('base64');
const transcribe = async (bytes, options = {}) =>
  client.audio.transcriptions.create({ model: 'auto', file: await toFile(bytes, 'talk.wav', { type: 'audio/wav' }), ...options });
const heard = await transcribe(wav);
const plain = await transcribe(wav, { response_format: 'text' });
let refused;
try {
  await transcribe(Buffer.from('no recording'));
} catch (error) {
  refused = { status: error.status, code: error.code };
}
console.log(JSON.stringify({ audio, type: spoken.headers.get('content-type'), heard: heard.text, plain, refused }));
