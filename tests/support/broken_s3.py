"""S3 on a bad day: the same error for whatever is asked, or an answer that breaks off. botocore reads both."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class BrokenS3:
    def __init__(self, code: str, status: int = 400) -> None:
        """`code` as S3 names the error; "" is an answer that breaks off in the middle of the object."""
        self.asked = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(code, status))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self, code: str, status: int) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                service.asked += 1
                error = f"<Error><Code>{code}</Code><Message>said the stand-in</Message></Error>".encode()
                body = error if code else b'{"format": 3'
                self.send_response(status if code else 200)
                self.send_header("Content-Length", str(len(body) + (0 if code else 1000)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler
