"""A FastMCP server that takes the JWTs of one issuer and checks them itself.

usage: python fastmcp_server.py ISSUER JWKS_URL

It prints its URL.
"""

import socket
import sys
from dataclasses import dataclass

import mcp_types as types
from fastmcp import Context, FastMCP
from fastmcp.server.auth import RemoteAuthProvider
from fastmcp.server.auth.providers.jwt import JWTVerifier
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

issuer, jwks = sys.argv[1:]
listener = socket.create_server(("127.0.0.1", 0))
origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
verifier = JWTVerifier(
    jwks_uri=jwks, issuer=issuer, audience=f"{origin}/mcp", algorithm="ES256", required_scopes=["notes:read"]
)
server = FastMCP(
    "fastmcp",
    auth=RemoteAuthProvider(token_verifier=verifier, authorization_servers=[issuer], base_url=origin),
)


@server.tool
def echo(text: str) -> str:
    return f"FastMCP heard {text}"


@dataclass
class Person:
    name: str


WHO = types.ElicitRequest(
    params=types.ElicitRequestFormParams(
        message="Who are you?",
        requested_schema={"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    )
)


@server.tool
async def ask(context: Context):
    """Asks who you are: by a request of its own, or in its answer where 2026-07-28 is spoken."""
    if context.request_context.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        answer = await context.elicit("Who are you?", Person)
        return f"{answer.data.name} said {answer.action}"
    if not context.input_responses:
        return types.InputRequiredResult(input_requests={"who": WHO})
    answer = context.input_responses["who"]
    return f"{answer.content['name']} said {answer.action}"


print(f"{origin}/mcp", flush=True)
server.run(transport="http", sockets=[listener], show_banner=False)
