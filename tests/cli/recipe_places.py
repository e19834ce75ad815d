"""What the documentation's `mdmsim up` command would have printed, as the recipes fill it in."""

from __future__ import annotations

from mdmsim.cli.recipes import places
from mdmsim.cli.universe import Universe

COMMAND = (
    "mdmsim up --only apns,dep,proxy --data world --apns-port 8444 --courier-port 8445 --proxy-port 8446 "
    "--dep-port 8447 --catalogue-port 8448"
)

STARTED = Universe(
    # Of mdmb's recipe, which needs nothing else.
    server={
        "url": "https://127.0.0.1:8449",
        "ca_file": "world/server/ca-root.pem",
        "api_key": "the-key-that-is-printed",
    },
    apns={
        "url": "https://127.0.0.1:8444",
        "push_file": "world/push.pem",
        "ca_file": "world/apple-ca.pem",
    },
    dep={"url": "https://127.0.0.1:8447", "ca_file": "world/apple-ca.pem"},
    proxy={"url": "http://127.0.0.1:8446", "ca_file": "world/apple-ca.pem"},
    catalogue={"url": "http://127.0.0.1:8448"},
)

PLACES = places(STARTED.facts(), STARTED.names)
