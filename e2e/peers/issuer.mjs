// An issuer for the tests: oidc-provider with its own pages, JWT access tokens bound to the resource asked for, rotating
// refresh tokens, dynamic registration, revocation.
//
// usage: node issuer.mjs [--access-ttl SECONDS] [--refresh-ttl SECONDS] [--client JSON] [--documents]
//   [--audience WHOM] [--require-pushed] [--device] [--nonces] [--vouches CLIENT] [--believes ISSUER]
//
// --client is the metadata of a client that is registered beforehand, in place of dynamic registration. --documents takes
// client ID metadata documents, also from this computer. WHOM is put into every token instead of the resource asked for.
// --nonces wants a nonce of its own in each proof of a key (DPoP).
//
// With --vouches it is an enterprise's issuer: it exchanges its own ID tokens for assertions about the person (ID-JAG), which
// CLIENT, a client ID at another issuer, may show there.
// With --believes it takes JWTs of that issuer as assertions, each once: those of an enterprise, and a workload's. oidc-provider
// has neither of these grant types, and leaves room for them.
//
// It tells on standard output what happens, one JSON object a line: first {"event":"ready","issuer":URL}, then
// "registration", "pushed", "revocation" and "token" (grant_type, ok, client_id, refresh_token) after the answer has left, and
// "secret" (kind, value) for each value that must stay between it and its client. It ends with its standard input.
import { createServer } from "node:http";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { parseArgs } from "node:util";
import { SignJWT, createRemoteJWKSet, importJWK, jwtVerify } from "jose";
import Provider, { errors } from "oidc-provider";

const { values: args } = parseArgs({ options: {
  "access-ttl": { type: "string", default: "3600" },
  "refresh-ttl": { type: "string", default: "86400" },
  client: { type: "string" },
  documents: { type: "boolean", default: false },
  audience: { type: "string" },
  "require-pushed": { type: "boolean", default: false },
  device: { type: "boolean", default: false },
  nonces: { type: "boolean", default: false },
  vouches: { type: "string" },
  believes: { type: "string" },
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

const resourceServer = (resource) => ({
  scope: "notes:read notes:write",
  audience: args.audience ?? resource,
  accessTokenTTL: Number(args["access-ttl"]),
  accessTokenFormat: "jwt",
  jwt: { sign: { alg: "ES256" } },
});

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
    clientCredentials: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => args.nonces },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: args["require-pushed"] },
    revocation: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => resourceServer(resource),
    },
  },
});

const jagType = "urn:ietf:params:oauth:token-type:id-jag";
const keysOf = (id) => createRemoteJWKSet(new URL(`${id}/jwks`));
const invalid = (why) => Object.assign(new errors.InvalidGrant(why), { error_detail: why });

if (args.vouches) {
  // RFC 8693 §2.1, draft-ietf-oauth-identity-assertion-authz-grant
  provider.registerGrantType("urn:ietf:params:oauth:grant-type:token-exchange", async (ctx) => {
    const p = ctx.oidc.params;
    if (p.requested_token_type !== jagType) throw new errors.InvalidRequest("this issuer gives id-jag only");
    const { payload } = await jwtVerify(p.subject_token, keysOf(issuer), { issuer, audience: ctx.oidc.client.clientId })
      .catch(() => { throw invalid("the ID token is not good"); });
    const assertion = await new SignJWT({ client_id: args.vouches, resource: p.resource, scope: p.scope })
      .setProtectedHeader({ alg: "ES256", kid: "e2e", typ: "oauth-id-jag+jwt" })
      .setIssuer(issuer).setSubject(payload.sub).setAudience(p.audience).setIssuedAt().setExpirationTime("5m").setJti(crypto.randomUUID())
      .sign(await importJWK({ ...key, alg: "ES256" }));
    secret("assertion", assertion);
    ctx.body = { access_token: assertion, issued_token_type: jagType, token_type: "N_A", expires_in: 300, scope: p.scope };
  }, ["requested_token_type", "audience", "resource", "scope", "subject_token", "subject_token_type"]);
}

if (args.believes) {
  const used = new Set();
  // RFC 7523 §2.1
  provider.registerGrantType("urn:ietf:params:oauth:grant-type:jwt-bearer", async (ctx) => {
    const { client, params: p } = ctx.oidc;
    const { payload } = await jwtVerify(p.assertion, keysOf(args.believes), { issuer: args.believes, audience: issuer })
      .catch((e) => { throw invalid(`the assertion is not good: ${e.code}`); });
    if (payload.client_id && payload.client_id !== client.clientId) throw invalid("the assertion is for another client");
    if (payload.client_id && (payload.resource !== p.resource || used.has(payload.jti))) throw invalid("the assertion is used up, or for another server");
    used.add(payload.jti);
    const token = new provider.ClientCredentials({ client, scope: p.scope });
    token.resourceServer = new provider.ResourceServer(p.resource, resourceServer(p.resource));
    token.extra = { sub: payload.sub };
    const value = await token.save();
    secret("assertion", p.assertion);
    ctx.body = { access_token: value, token_type: "Bearer", expires_in: token.expiration, scope: p.scope };
  }, ["assertion", "resource", "scope"]);
}

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
        client_id: ctx.oidc.client?.clientId, refresh_token: got.refresh_token, token_type: got.token_type,
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

provider.on("server_error", (_ctx, error) => console.error(error));
const answer = provider.callback();
server.on("request", (request, response) => {
  if (request.url !== "/told") return answer(request, response);
  tell("told", {}); // whoever reads this has read all that was told before
  response.end();
});
process.stdin.resume().on("end", () => process.exit());
tell("ready", { issuer });
