"""A service for tests of the gateway: `python upstream.py PORT NAME [FOLDER]` answers as the path asks.

/readyz                     200, or 503 while FOLDER/NAME.unready exists
/v1/<any>/status/<code>     a problem of the service's own with this status
/v1/<any>/break             closes the connection without an answer
anything else               200: who answered, and the headers that came; after `Slow-Ms` milliseconds, if they say so
On SIGTERM it writes its name into FOLDER/stopped and ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import FrameType

PORT, NAME = int(sys.argv[1]), sys.argv[2]
FOLDER = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(os.devnull)


class Upstream(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment for an answer: two would wait for each other's acknowledgement

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = self.path.strip("/").split("/")
        if self.path == "/readyz":
            self._answer(503 if (FOLDER / f"{NAME}.unready").exists() else 200, {})
        elif len(parts) == 4 and parts[2] == "status":
            self._answer(int(parts[3]), {"title": "of the service itself", "arm": NAME}, "application/problem+json")
        elif parts[-1] == "break":
            self.close_connection = True
        else:
            time.sleep(int(self.headers.get("Slow-Ms") or 0) / 1000)
            self._answer(200, {"arm": NAME, "pid": os.getpid(), "headers": dict(self.headers)})

    def do_POST(self) -> None:
        self.do_GET()

    def _answer(self, status: int, body: dict[str, object], media_type: str = "application/json") -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        if status in (429, 503):
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


def stop(_signal: int, _frame: FrameType | None) -> None:
    with (FOLDER / "stopped").open("a") as file:
        file.write(f"{NAME}\n")
    os._exit(0)


if __name__ == "__main__":
    if FOLDER.is_dir():
        signal.signal(signal.SIGTERM, stop)
    if "--stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--worker" in sys.argv:
        # As a model server does: a worker in a session of its own, which no signal to the group reaches.
        with (FOLDER / "worker.pid").open("w") as file:
            worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
            file.write(str(worker.pid))
    ThreadingHTTPServer(("127.0.0.1", PORT), Upstream).serve_forever()
