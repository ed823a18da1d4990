"""A client of a few lines, without a dependency, so that the demo needs nothing that serving does not."""

import http.client
import json
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class Client:
    def __init__(self, url: str, key: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        self._headers = {"Authorization": f"Bearer {key}"}

    def post(self, path: str, fields: dict[str, str], files: dict[str, list[Path]], *, expect: int) -> Any:
        boundary = secrets.token_hex(16)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self._call("POST", path, expect, _multipart(boundary, fields, files), headers)

    def put(self, path: str, content: dict[str, Any], *, expect: int) -> Any:
        return self._call("PUT", path, expect, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def get(self, path: str, *, expect: int) -> Any:
        return self._call("GET", path, expect)

    def delete(self, path: str, *, expect: int) -> Any:
        return self._call("DELETE", path, expect)

    def download(self, path: str) -> bytes:
        return self._ask("GET", path, 200)

    def _call(
        self, method: str, path: str, expect: int, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Any:
        return json.loads(self._ask(method, path, expect, body, headers))

    def _ask(
        self, method: str, path: str, expect: int, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> bytes:
        self._connection.request(method, path, body, self._headers | (headers or {}))
        response = self._connection.getresponse()
        content = response.read()
        if response.status != expect:
            raise SystemExit(f"{method} {path} answered {response.status}, not {expect}: {content.decode()}")
        return content


def _multipart(boundary: str, fields: dict[str, str], files: dict[str, list[Path]]) -> bytes:
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts += [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{path.name}"\r\n\r\n'.encode()
        + path.read_bytes()
        + b"\r\n"
        for name, paths in files.items()
        for path in paths
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode()
