// An MCP host: for each line it reads, the name of a tool, it prints a JSON object with what the tool answers, or the error.

import { createInterface } from "node:readline";
import { Server, ValetKeyError } from "./valetkey.ts";

const url = process.argv[2];
const server = new Server(url, { reason: "test the TypeScript client", client: { name: "host.ts" } });
const session: Record<string, string> = {};

async function post(message: object): Promise<any> {
  const body = JSON.stringify({ jsonrpc: "2.0", ...message });
  const headers = { "Content-Type": "application/json", Accept: "application/json, text/event-stream", ...session };
  const response = await server.send((token) => fetch(url, { method: "POST", body, headers: { ...headers, Authorization: `Bearer ${token}` } }));
  const text = await response.text();
  if (!response.ok) throw new Error(`HTTP ${response.status}: ${text}`);
  const id = response.headers.get("Mcp-Session-Id");
  if (id) session["Mcp-Session-Id"] = id;
  const events = text.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5));
  return JSON.parse(events.at(-1) ?? (text || "{}"));
}

async function use(tool: string): Promise<string> {
  if (!session["Mcp-Session-Id"]) {
    const hello = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "host.ts", version: "1" } };
    await post({ id: 0, method: "initialize", params: hello });
    await post({ method: "notifications/initialized" });
  }
  const args = tool === "add_note" ? { text: "from TypeScript" } : {};
  return (await post({ id: 1, method: "tools/call", params: { name: tool, arguments: args } })).result.content[0].text;
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer: object;
  try {
    answer = { text: await use(line) };
  } catch (e) {
    if (e instanceof ValetKeyError) answer = { code: e.code, message: e.message, hint: e.hint, retry_after: e.retryAfter };
    else answer = { code: "", message: String(e) };
  }
  console.log(JSON.stringify(answer));
}
