// An issuer for the tests: oidc-provider with its own pages, JWT access tokens bound to the resource asked for, rotating
// refresh tokens, dynamic registration, revocation.
//
// usage: node issuer.mjs [--access-ttl SECONDS] [--refresh-ttl SECONDS] [--client JSON] [--documents]
//   [--audience WHOM] [--require-pushed] [--device]
//
// --client is the metadata of a client that is registered beforehand, in place of dynamic registration. --documents takes
// client ID metadata documents, also from this computer. WHOM is put into every token instead of the resource asked for.
//
// It tells on standard output what happens, one JSON object a line: first {"event":"ready","issuer":URL}, then
// "registration", "pushed", "revocation" and "token" (grant_type, ok, client_id, refresh_token) after the answer has left, and
// "secret" (kind, value) for each value that must stay between it and its client. It ends with its standard input.
import { createServer } from "node:http";
import { generateKeyPairSync } from "node:crypto";
import { parseArgs } from "node:util";
import Provider from "oidc-provider";

const { values: args } = parseArgs({ options: {
  "access-ttl": { type: "string", default: "3600" },
  "refresh-ttl": { type: "string", default: "86400" },
  client: { type: "string" },
  documents: { type: "boolean", default: false },
  audience: { type: "string" },
  "require-pushed": { type: "boolean", default: false },
  device: { type: "boolean", default: false },
} });

const tell = (event, facts) => process.stdout.write(JSON.stringify({ event, ...facts }) + "\n");
const told = new Set();
const secret = (kind, value) => {
  if (typeof value === "string" && value !== "" && !told.has(value)) {
    told.add(value);
    tell("secret", { kind, value });
  }
};

const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });
const server = createServer();
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...key, alg: "ES256", use: "sig", kid: "e2e" }] },
  cookies: { keys: ["e2e"] },
  clients: args.client ? [JSON.parse(args.client)] : [],
  // Its own guard lets no request reach this computer, where the documents of the tests are.
  fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined }),
  scopes: ["openid", "offline_access"],
  clientDefaults: { grant_types: ["authorization_code", "refresh_token"], id_token_signed_response_alg: "ES256" },
  enabledJWA: { idTokenSigningAlgValues: ["ES256"] },
  responseTypes: ["code"],
  ttl: {
    AccessToken: (_ctx, token) => token.resourceServer?.accessTokenTTL ?? 3600,
    AuthorizationCode: 60, Grant: 86400, IdToken: 3600, Interaction: 3600, Session: 86400,
    RefreshToken: Number(args["refresh-ttl"]),
  },
  rotateRefreshToken: true,
  issueRefreshToken: (_ctx, client) => client.grantTypeAllowed("refresh_token"),
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: !args.client },
    clientIdMetadataDocument: { enabled: args.documents, ack: "draft-02" },
    deviceFlow: { enabled: args.device },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: args["require-pushed"] },
    revocation: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => ({
        scope: "notes:read notes:write",
        audience: args.audience ?? resource,
        accessTokenTTL: Number(args["access-ttl"]),
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
});

provider.use(async (ctx, next) => {
  await next();
  const sent = ctx.oidc?.params ?? {};
  const got = ctx.body ?? {};
  const after = (f) => ctx.res.once("finish", f);
  secret("code", new URL(ctx.response.get("location") || issuer, issuer).searchParams.get("code") ?? "");
  switch (ctx.oidc?.route) {
    case "token":
      secret("code", sent.code);
      secret("device code", sent.device_code);
      secret("verifier", sent.code_verifier);
      secret("refresh token", sent.refresh_token);
      secret("refresh token", got.refresh_token);
      secret("access token", got.access_token);
      after(() => tell("token", {
        grant_type: sent.grant_type, ok: ctx.status === 200, error: got.error, scope: got.scope,
        client_id: ctx.oidc.client?.clientId, refresh_token: got.refresh_token,
      }));
      break;
    case "pushed_authorization_request":
      after(() => tell("pushed", { ok: ctx.status === 201, error: got.error }));
      break;
    case "registration":
      secret("client secret", got.client_secret);
      secret("registration token", got.registration_access_token);
      after(() => tell("registration", { ok: ctx.status === 201, client_id: got.client_id }));
      break;
    case "revocation":
      after(() => tell("revocation", { ok: ctx.status === 200, hint: sent.token_type_hint }));
  }
});

server.on("request", provider.callback());
process.stdin.resume().on("end", () => process.exit());
tell("ready", { issuer });
