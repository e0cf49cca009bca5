"""A small S3 for `scale.py`: a bucket of results that nobody has written, each made when it is
asked for. It answers the requests of pyarrow that list and read, each after a while, as a real one.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

ANSWER_AFTER = 0.03  # seconds
PAGE = 1000  # keys in an answer
WHEN = "2026-11-29T00:00:00.000Z"
SIZE = 4096  # bytes, as listings have it; nobody compares
FORMAT = b'{"format":2}'


@cache
def keys_of(number: int) -> list[str]:
    """Keys of trials, in order."""
    return sorted(hashlib.sha256(str(i).encode()).hexdigest() for i in range(number))


def body(name: str) -> bytes:
    """What lies under a name."""
    from orchestrator.store.records import body_of

    if name == "spolia/format.json":
        return FORMAT
    metrics = [{"name": "score", "value": 0.5, "labels": {}} for _ in range(10)]
    key = name.split("/")[3]
    return body_of({"key": key, "outcome": "done", "metrics": metrics, "curves": [], "frozen": {}})


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    names: ClassVar[list[str]] = []

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._object(with_body=False)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if "list-type" in query:
            time.sleep(ANSWER_AFTER)
            self._send(200, self._page(query).encode(), {"Content-Type": "application/xml"})
        else:
            self._object(with_body=True)

    def _page(self, query: dict[str, str]) -> str:
        prefix = query.get("prefix", "")
        start = bisect.bisect_left(self.names, query.get("continuation-token", prefix))
        page = [n for n in self.names[start : start + PAGE] if n.startswith(prefix)]
        behind = self.names[start + PAGE : start + PAGE + 1]
        is_cut = bool(len(page) == PAGE and behind and behind[0].startswith(prefix))
        token = f"<NextContinuationToken>{behind[0]}</NextContinuationToken>" if is_cut else ""
        contents = "".join(
            f"<Contents><Key>{name}</Key><LastModified>{WHEN}</LastModified>"
            f'<ETag>"0"</ETag><Size>{SIZE}</Size></Contents>'
            for name in page
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>bucket</Name>'
            f"<Prefix>{prefix}</Prefix><KeyCount>{len(page)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
            f"<IsTruncated>{str(is_cut).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
        )

    def _object(self, *, with_body: bool) -> None:
        time.sleep(ANSWER_AFTER)
        name = unquote(urlsplit(self.path).path).removeprefix("/bucket/")
        place = bisect.bisect_left(self.names, name)
        if self.names[place : place + 1] != [name]:
            self._send(404, b"", {})
            return
        content = body(name)
        about = {"ETag": '"0"', "Last-Modified": "Sun, 29 Nov 2026 00:00:00 GMT"}
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if not first:
            self._send(200, content, about, with_body=with_body)
            return
        part = content[int(first) : int(last or len(content)) + 1]
        about["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
        self._send(206, part, about, with_body=with_body)

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], *, with_body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(content)


@contextlib.contextmanager
def served(number: int) -> Iterator[str]:
    """The address of a store with so many results, served by a process of its own."""
    os.environ.update(
        AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_EC2_METADATA_DISABLED="true"
    )
    command = [sys.executable, __file__, str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        where = f"127.0.0.1:{server.stdout.readline().strip()}"
        try:
            yield f"s3://bucket/spolia?endpoint_override={where}&scheme=http&region=us-east-1"
        finally:
            server.terminate()


def main() -> None:
    keys = keys_of(int(sys.argv[1]))
    results = [f"spolia/results/{key[:2]}/{key}/result.json" for key in keys]
    Answers.names = ["spolia/format.json", *results]
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
