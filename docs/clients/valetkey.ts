// Tokens from Valet Key for an MCP host. Node's own library only: copy this file. README.md beside it says how to use it.

import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, statSync } from "node:fs";
import { request } from "node:http";
import { homedir } from "node:os";

/** What Valet Key said. The message is for the person; decide by code, which docs/localapi.md explains. */
export class ValetKeyError extends Error {
  code: string;
  hint: string;
  retryAfter?: number; // seconds
  constructor(said: { code: string; message: string; hint?: string; retry_after_s?: number }) {
    super(said.hint ? `${said.message}\n${said.hint}` : said.message);
    [this.code, this.hint, this.retryAfter] = [said.code, said.hint ?? "", said.retry_after_s];
  }
}

/** Where Valet Key listens (Linux and macOS; on Windows set VK_SOCK to its pipe). */
export function address(): string {
  const { VK_SOCK, XDG_RUNTIME_DIR, TMPDIR } = process.env;
  if (VK_SOCK) return VK_SOCK;
  if (!process.getuid) throw new Error("VK_SOCK is not set to its pipe");
  const uid = process.getuid();
  if (process.platform === "darwin") {
    const path = `${homedir()}/Library/Caches/valetkey/agent.sock`;
    return Buffer.byteLength(path) <= 103 ? path : `${TMPDIR ?? "/tmp"}/valetkey-${uid}/agent.sock`;
  }
  if (XDG_RUNTIME_DIR?.startsWith("/")) return `${XDG_RUNTIME_DIR}/valetkey/agent.sock`;
  return existsSync(`/run/user/${uid}`) ? `/run/user/${uid}/valetkey/agent.sock` : `${homedir()}/.local/state/valetkey/run/agent.sock`;
}

async function post(body: object): Promise<any> {
  try {
    const socketPath = address();
    if (process.getuid && statSync(socketPath).uid !== process.getuid()) throw new Error(`${socketPath} is not yours`);
    const call = request({ socketPath, path: "/v1/token", method: "POST", headers: { "Content-Type": "application/json" } });
    call.end(JSON.stringify(body));
    const [response] = await once(call, "response"); // without a timeout: the person may be asked
    let text = "";
    for await (const chunk of response.setEncoding("utf8")) text += chunk;
    return JSON.parse(text);
  } catch (e) {
    throw new ValetKeyError({ code: "unavailable", message: `Valet Key cannot be reached: ${(e as Error).message}`, hint: "start it: run valetkey" });
  }
}

/** One MCP server. more is what else POST /v1/token takes: scopes, account, reason, client, interaction. */
export class Server {
  #request: object;
  #held = "";
  #until = 0; // milliseconds
  constructor(resource: string, more: object = {}) {
    this.#request = { resource, ...more };
  }

  /** A token. After a 401 or 403: another one, for the refused token and the WWW-Authenticate values. */
  async token(refused = "", challenges: string[] = []): Promise<string> {
    if (!refused && Date.now() < this.#until) return this.#held;
    this.#until = 0;
    const named = refused ? { refused: createHash("sha256").update(refused).digest("hex") } : {};
    const answer = await post({ ...this.#request, challenges, ...named });
    if (answer.error) throw new ValetKeyError(answer.error);
    const now = Date.now(), left = answer.expires_at ? Date.parse(answer.expires_at) - now : 3_600_000;
    this.#until = now + left - Math.min(60_000, left / 2);
    return (this.#held = answer.access_token);
  }

  /** Resolves to call(token), a response as fetch has them. A 401 or 403 is answered with another token, once. */
  async send(call: (token: string) => Promise<Response>): Promise<Response> {
    const token = await this.token();
    const response = await call(token);
    const challenge = response.headers.get("WWW-Authenticate") ?? "";
    if (response.status !== 401 && !(response.status === 403 && challenge.includes("insufficient_scope"))) return response;
    await response.body?.cancel();
    return call(await this.token(token, challenge ? [challenge] : []));
  }
}
