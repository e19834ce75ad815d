"""The admin API beside a real front: what it tells of connections is true."""

from __future__ import annotations

import ssl

import httpx
import pytest

from mdmsim.fakeapns import FakeApns

pytestmark = pytest.mark.live


def test_a_providers_connection_is_seen_and_told_to_go() -> None:
    with FakeApns() as apns:
        context = ssl.create_default_context(cadata=apns.ca)
        context.load_cert_chain(apns.certificate().file)
        admin = httpx.Client(base_url=apns.admin_url, headers={"authorization": f"Bearer {apns.admin_key}"})
        with admin, httpx.Client(http2=True, verify=context) as provider:
            path = f"{apns.url}/3/device/{apns.token('mac-1')}"
            assert provider.post(path, json={"mdm": "magic"}).status_code == 200
            (seen,) = admin.get("/connections").json()["providers"]
            assert (seen["alpn"], seen["topic"], seen["accepted"], seen["requests"]) == ("h2", apns.topic, 1, 1)
            assert seen["tls"].startswith("TLSv1.")
            assert seen["received"] > 0 < seen["sent"]
            told = admin.post("/connections/goaway", json={"reason": "Shutdown", "connections": [seen["number"]]})
            assert told.json() == {"connections": 1}
            assert provider.post(path, json={"mdm": "magic"}).status_code == 200
            numbers = [one["provider"] for one in admin.get("/transactions").json()["transactions"]]
            assert len(set(numbers)) == 2
            assert admin.post("/connections/goaway", json={"connections": [10_000]}).json() == {"connections": 0}
            text = admin.get("/metrics").text
            assert 'mdmsim_apns_connections{of="providers"} 1' in text
            assert 'mdmsim_apns_front_total{how="accepted"} 2' in text
