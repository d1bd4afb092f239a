// A host made with the official TypeScript SDK: it starts a command as its MCP server, calls tools, and answers what
// the server asks of it meanwhile.
//
// usage: node host.mjs CALLS COMMAND [ARG…]
//
// CALLS is JSON, [{"tool", "args", "form"}]: form is what the person fills in when asked during that call. It prints one
// JSON object: {"tools": [NAME…], "answers": [{"text", "asked": [METHOD…]}]}.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { CreateMessageRequestSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const [calls, command, ...args] = process.argv.slice(2);
const client = new Client({ name: "ts-host", version: "1" }, { capabilities: { sampling: {}, elicitation: {} } });
let asked, form;
client.setRequestHandler(CreateMessageRequestSchema, (request) => {
  asked.push(request.method);
  return { model: "none", role: "assistant", content: { type: "text", text: "a thought" } };
});
client.setRequestHandler(ElicitRequestSchema, (request) => {
  asked.push(request.method);
  return { action: "accept", content: form };
});

await client.connect(new StdioClientTransport({ command, args }));
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const answers = [];
for (const call of JSON.parse(calls)) {
  asked = [];
  form = call.form;
  const { content } = await client.callTool({ name: call.tool, arguments: call.args ?? {} });
  answers.push({ text: content.map((part) => part.text).join("\n"), asked });
}
await client.close();
console.log(JSON.stringify({ tools, answers }));
