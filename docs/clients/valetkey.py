"""Tokens from Valet Key for an MCP host. Python's own library only: copy this file. README.md beside it says how to use it."""

import datetime, hashlib, http.client, json, os, socket, sys, time


class ValetKeyError(Exception):
    """What Valet Key said. str() is for the person; decide by code, which docs/localapi.md explains."""

    def __init__(self, code, message, hint="", retry_after_s=None, **_):
        super().__init__(f"{message}\n{hint}" if hint else message)
        self.code, self.hint, self.retry_after = code, hint, retry_after_s


def address():
    """Where Valet Key listens (Linux and macOS)."""
    if os.environ.get("VK_SOCK"):
        return os.environ["VK_SOCK"]
    if sys.platform == "darwin":
        path = os.path.expanduser("~/Library/Caches/valetkey/agent.sock")
        return path if len(os.fsencode(path)) <= 103 else f"{os.environ.get('TMPDIR', '/tmp')}/valetkey-{os.getuid()}/agent.sock"
    run = os.environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(run) and not os.path.isdir(run := f"/run/user/{os.getuid()}"):
        return os.path.expanduser("~/.local/state/valetkey/run/agent.sock")
    return f"{run}/valetkey/agent.sock"


class Connection(http.client.HTTPConnection):
    def connect(self):
        if os.stat(address()).st_uid != os.getuid():
            raise PermissionError(f"{address()} is not yours")
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(address())


class Server:
    """One MCP server. more is what else POST /v1/token takes: scopes, account, reason, client, interaction."""

    def __init__(self, resource, **more):
        self.request, self.held, self.until = {"resource": resource, **more}, "", 0

    def token(self, refused="", challenges=()):
        """A token. After a 401 or 403: another one, for the refused token and the WWW-Authenticate values."""
        if not refused and time.time() < self.until:
            return self.held
        self.until, body = 0, {**self.request, "challenges": list(challenges)}
        if refused:
            body["refused"] = hashlib.sha256(refused.encode()).hexdigest()
        connection = Connection("localhost")  # without a timeout: the person may be asked
        try:
            connection.request("POST", "/v1/token", json.dumps(body), {"Content-Type": "application/json"})
            answer = json.load(connection.getresponse())
        except (OSError, ValueError, http.client.HTTPException) as e:
            raise ValetKeyError("unavailable", f"Valet Key cannot be reached: {e}", "start it: run valetkey") from e
        finally:
            connection.close()
        if "error" in answer:
            raise ValetKeyError(**answer["error"])
        now, end = time.time(), answer.get("expires_at")
        left = datetime.datetime.fromisoformat(end).timestamp() - now if end else 3600
        self.held, self.until = answer["access_token"], now + left - min(60, left / 2)
        return self.held

    def send(self, call):
        """Returns call(token), a response as http.client has them. A 401 or 403 is answered with another token, once."""
        token = self.token()
        response = call(token)
        challenges = response.headers.get_all("WWW-Authenticate") or []
        if response.status == 401 or response.status == 403 and "insufficient_scope" in str(challenges):
            response = call(self.token(token, challenges))
        return response
