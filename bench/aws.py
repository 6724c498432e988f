"""Signed calls of the API, for what an operator's command would take too long for: thousands of things."""

import datetime
import hashlib
import hmac
import http.client
import json
import threading

SERVICE, REGION = "iot", "us-east-1"


class Api:
    """The API of one server; a connection per thread."""

    def __init__(self, address, access_key_id, secret):
        self.address, self.access_key_id, self.secret = address, access_key_id, secret
        self.local = threading.local()

    def call(self, method, path, body=None, headers=None, query=""):
        """Calls; fails unless the server says that it is done."""
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection(self.address, timeout=30)
        payload = b"" if body is None else json.dumps(body).encode()
        signed = self._signed(method, path, query, payload, headers or {})
        target = f"{path}?{query}" if query else path
        self.local.connection.request(method, target, body=payload, headers=signed)
        response = self.local.connection.getresponse()
        answer = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
        return json.loads(answer) if answer else None

    def _signed(self, method, path, query, payload, headers):
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{REGION}/{SERVICE}/aws4_request"
        headers = {**headers, "host": self.address, "x-amz-date": stamp}
        names = sorted(headers)
        canonical = "\n".join(
            [method, path.replace("%", "%25"), query]
            + [f"{name}:{headers[name]}" for name in names]
            + ["", ";".join(names), hashlib.sha256(payload).hexdigest()]
        )
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = f"AWS4{self.secret}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key_id}/{scope}, "
            f"SignedHeaders={';'.join(names)}, Signature={signature}"
        )
        return headers
