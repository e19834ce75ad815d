"""Run as a program: blocking flows in greenlets of a process that gevent has patched, against a server over real TLS.

Reads a JSON object from standard input (port, anchor, identities, devices, rounds), prints one JSON object.
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import base64  # noqa: E402  gevent patches first
import json  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402

from mdmsim.device.flow import Flow, exchange, pause  # noqa: E402
from mdmsim.http import Identity, Request, Response, Trust  # noqa: E402
from mdmsim.transport.blocking import BlockingTransport  # noqa: E402
from mdmsim.transport.driver import run_flow_blocking  # noqa: E402


def main() -> None:
    given = json.load(sys.stdin)
    trust = Trust(anchors=(base64.b64decode(given["anchor"]),))
    identities = [Identity(base64.b64decode(c), base64.b64decode(k)) for c, k in given["identities"]]
    transport = BlockingTransport(connect_to={"mdm.example.test:443": ("127.0.0.1", given["port"])})
    order: list[int] = []
    shown: dict[int, list[str]] = {}

    class IO:
        def __init__(self, number: int) -> None:
            self.number = number

        def send(self, request: Request) -> Response:
            return transport.send(request)

        def pause(self, seconds: float) -> None:
            gevent.sleep(seconds)

        def save(self) -> None:
            order.append(self.number)

    def flow(number: int) -> Flow[int]:
        for _ in range(given["rounds"]):
            request = Request(
                "PUT", "https://mdm.example.test/", body=b"%d" % number, identity=identities[number], trust=trust
            )
            response = yield from exchange(request)
            shown.setdefault(number, []).append(response.body.decode())
            yield from pause(0)
        return number

    jobs = [gevent.spawn(lambda n=n: run_flow_blocking(flow(n), IO(n))) for n in range(given["devices"])]
    gevent.joinall(jobs, raise_error=True, timeout=60)
    print(
        json.dumps(
            {"order": order, "shown": shown, "values": [job.value for job in jobs], "trio": "trio" in sys.modules}
        )
    )


if __name__ == "__main__":
    main()
