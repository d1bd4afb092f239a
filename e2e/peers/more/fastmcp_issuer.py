# An MCP server of FastMCP's for the tests, with one of its kinds of sign-in.
#
# usage: fastmcp_issuer.py PORT own                        it is its own issuer (InMemoryOAuthProvider)
#        fastmcp_issuer.py PORT proxy ISSUER CLIENT SECRET  its own issuer, in front of another (OAuthProxy)
#        fastmcp_issuer.py PORT remote ISSUER               it trusts the JWTs of another (RemoteAuthProvider, JWTVerifier)
#
# It has the tools list_notes, which every caller may use, and add_note, which needs the scope notes:write.
import sys

from fastmcp import FastMCP
from fastmcp.server.auth import OAuthProxy, RemoteAuthProvider, require_scopes
from fastmcp.server.auth.auth import ClientRegistrationOptions, RevocationOptions
from fastmcp.server.auth.providers.in_memory import InMemoryOAuthProvider
from fastmcp.server.auth.providers.jwt import JWTVerifier
from key_value.aio.stores.memory import MemoryStore

READ, WRITE = "notes:read", "notes:write"
port, kind, *rest = sys.argv[1:]
base = f"http://127.0.0.1:{port}"


def verifier(issuer):
    return JWTVerifier(jwks_uri=f"{issuer}/jwks", issuer=issuer, audience=f"{base}/mcp", algorithm="ES256", required_scopes=[READ])


if kind == "own":
    auth = InMemoryOAuthProvider(
        base_url=base,
        client_registration_options=ClientRegistrationOptions(enabled=True, valid_scopes=[READ, WRITE], default_scopes=[READ, WRITE]),
        revocation_options=RevocationOptions(enabled=True),
        required_scopes=[READ],
    )
elif kind == "proxy":
    issuer, client, secret = rest
    auth = OAuthProxy(
        upstream_authorization_endpoint=f"{issuer}/auth",
        upstream_token_endpoint=f"{issuer}/token",
        upstream_revocation_endpoint=f"{issuer}/token/revocation",
        upstream_client_id=client,
        upstream_client_secret=secret,
        token_verifier=verifier(issuer),
        valid_scopes=[READ, WRITE],
        base_url=base,
        client_storage=MemoryStore(),
    )
else:
    (issuer,) = rest
    auth = RemoteAuthProvider(token_verifier=verifier(issuer), authorization_servers=[issuer], base_url=base, scopes_supported=[READ, WRITE])

server = FastMCP("Notes of FastMCP", auth=auth)
notes = ["Water the tomatoes on Tuesday"]


@server.tool
def list_notes() -> list[str]:
    """Lists the notes."""
    return notes


@server.tool(auth=require_scopes(WRITE))
def add_note(text: str) -> int:
    """Writes a note."""
    notes.append(text)
    return len(notes)


server.run(transport="http", host="127.0.0.1", port=int(port), show_banner=False)
