#!/usr/bin/env node
// Writes skills/compute-futures/references/endpoints.md from docs/openapi.json.
//   node skills/gen.mjs [--check]
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const [from, to] = [path('../docs/openapi.json'), path('compute-futures/references/endpoints.md')];
const api = JSON.parse(readFileSync(from, 'utf8'));

const resolve = (schema) => (schema?.$ref ? schema.$ref.slice(2).split('/').reduce((at, key) => at[key], api) : (schema ?? {}));
const line = (text) => (text ?? '').replaceAll(/\s+/g, ' ').replaceAll('|', '\\|').trim();

/** A type as a reader names it. */
function type(schema) {
  if (schema?.$ref) return resolve(schema).properties ? 'object' : type(resolve(schema));
  const variants = schema?.oneOf ?? schema?.anyOf;
  if (variants) return [...new Set(variants.map(type))].filter((t) => t && t !== 'null').join(' or ');
  if (schema?.enum) return schema.enum.map((value) => JSON.stringify(value)).join(', ');
  const types = [schema?.type ?? 'any'].flat().filter((t) => t !== 'null');
  return types.map((t) => (t === 'array' ? `list of ${type(schema.items)}` : t)).join(' or ');
}

/** What a field is for: its own words, or those of one of its forms. */
const about = (field) => field.description ?? resolve(field).description ?? (field.oneOf ?? field.anyOf ?? []).find((form) => form.description)?.description;

const PRICES = { free: 'Free', fixed: 'A fixed price', 'by-model': 'By model and size', 'by-provider': 'By provider', batch: 'What its jobs cost, less a tenth', variable: 'By what is asked for' };

/** How a call is paid. */
function payment({ 'x-payment': paid }) {
  if (!paid || paid.price === 'free') return 'Free.';
  return `${PRICES[paid.price] ?? paid.price}; paid with ${paid.schemes.map((scheme) => `\`${scheme}\``).join(' or ')}.`;
}

function fields(schema) {
  const { properties, required = [] } = resolve(schema);
  return Object.entries(properties ?? {}).map(
    ([name, field]) => `| \`${name}\` | ${type(field)} | ${required.includes(name) ? 'yes' : ''} | ${line(about(field))} |`,
  );
}

const out = [
  '# Endpoints',
  '',
  'Generated from `docs/openapi.json` by `make gen`; do not edit. Amounts are decimal strings. Live prices: `GET /.well-known/x402.json`.',
];
for (const [route, methods] of Object.entries(api.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    if (typeof operation !== 'object' || !operation.responses) continue;
    out.push('', `## ${method.toUpperCase()} ${route}`);
    for (const text of [operation.summary, operation.description]) if (text) out.push(`${text.trim().replace(/\.$/, '')}.`);
    out.push(payment(operation));
    const parameters = (operation.parameters ?? []).map(resolve).filter((parameter) => parameter.in !== 'header');
    if (parameters.length) {
      out.push('', '| parameter | in | required | |', '|---|---|---|---|');
      for (const p of parameters) out.push(`| \`${p.name}\` | ${p.in} | ${p.required ? 'yes' : ''} | ${line(p.description)} |`);
    }
    for (const [media, { schema }] of Object.entries(resolve(operation.requestBody).content ?? {})) {
      const rows = fields(schema);
      if (rows.length) out.push('', `Body (\`${media}\`):`, '', '| field | type | required | |', '|---|---|---|---|', ...rows);
    }
    out.push('', '| answer | |', '|---|---|');
    for (const [status, answer] of Object.entries(operation.responses)) out.push(`| ${status} | ${line(resolve(answer).description)} |`);
  }
}
const text = `${out.join('\n')}\n`;
if (!process.argv.includes('--check')) {
  mkdirSync(dirname(to), { recursive: true });
  writeFileSync(to, text);
}
if (!existsSync(to) || readFileSync(to, 'utf8') !== text) {
  console.error('skills/compute-futures/references/endpoints.md is out of date: run `make gen`');
  process.exit(1);
}
