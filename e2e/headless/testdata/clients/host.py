"""An MCP host: for each line it reads, the name of a tool, it prints a JSON object with what the tool answers, or the error."""

import http.client, json, sys, urllib.parse
from valetkey import Server, ValetKeyError

url = urllib.parse.urlsplit(sys.argv[1])
server = Server(sys.argv[1], reason="test the Python client", client={"name": "host.py"})
session = {}


def post(message):
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **session}

    def call(token):
        connection = http.client.HTTPConnection(url.netloc)
        connection.request("POST", url.path, json.dumps({"jsonrpc": "2.0", **message}), {**headers, "Authorization": f"Bearer {token}"})
        return connection.getresponse()

    response = server.send(call)
    body = response.read().decode()
    if response.status >= 300:
        raise RuntimeError(f"HTTP {response.status}: {body}")
    if response.headers["Mcp-Session-Id"]:
        session["Mcp-Session-Id"] = response.headers["Mcp-Session-Id"]
    events = [line[5:] for line in body.splitlines() if line.startswith("data:")]
    return json.loads(events[-1] if events else body or "{}")


def use(tool):
    if not session:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "host.py", "version": "1"}}
        post({"id": 0, "method": "initialize", "params": hello})
        post({"method": "notifications/initialized"})
    arguments = {"text": "from Python"} if tool == "add_note" else {}
    return post({"id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})["result"]["content"][0]["text"]


for line in sys.stdin:
    try:
        answer = {"text": use(line.strip())}
    except ValetKeyError as e:
        answer = {"code": e.code, "message": str(e), "hint": e.hint, "retry_after": e.retry_after}
    except Exception as e:
        answer = {"code": "", "message": repr(e)}
    print(json.dumps(answer), flush=True)
