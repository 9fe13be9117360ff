#!/usr/bin/env node
// The official MCP client for JavaScript over streamable HTTP: URL and KEY are what `compute-futures mcp --http` printed.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const headers = { Authorization: `Bearer ${process.env.KEY}` };
const client = new Client({ name: 'test', version: '1' });
await client.connect(new StreamableHTTPClientTransport(new URL(process.env.URL), { requestInit: { headers } }));
const { tools } = await client.listTools();
const models = await client.callTool({ name: 'models', arguments: {} });
const text = await client.callTool({ name: 'text', arguments: { prompt: 'Revenue rose. Costs fell. All was well.', max_tokens: 64 } });
await client.close();
console.log(JSON.stringify({ tools: tools.map((tool) => tool.name), models, text }));
