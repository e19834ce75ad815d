"""Parsers that nobody here wrote, and what each makes of a recorded message: "" when it accepts it, else its objection."""

from __future__ import annotations

import base64
import hashlib
import json
import plistlib
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from mdmsim.http import Identity
from mdmsim.pki.certificate import identity_to_pem, to_pem
from tests.interop.corpus import Sample, header_bytes
from tests.interop.needs import from_go
from tests.interop.openssl import OpenSSL, Refused

Found = dict[str, Any]


class Foreign:
    """The Go program: many questions in one run."""

    def __init__(self) -> None:
        self._program = from_go("foreign")

    def ask(self, questions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """`{"ok": True, "found": ...}` or `{"ok": False, "error": ...}` for each question."""
        lines = "".join(json.dumps({k: _plain(v) for k, v in q.items()}) + "\n" for q in questions)
        done = subprocess.run(
            [self._program, "parse"], input=lines.encode(), capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(questions)
        return answers


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _as_json(value: Any) -> Any:
    """Plist values as Go's encoding/json writes them."""
    if isinstance(value, dict):
        return {key: _as_json(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_as_json(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat() + "Z"
    return _plain(value)


def _differs(expected: Any, found: Any, what: str) -> str:
    return "" if expected == found else f"read {what} as {found!r:.200}, not {expected!r:.200}"


# ---- Go: what to ask about a message, and whether what was found is what stands there

Question = tuple[dict[str, Any], Callable[[Found], str]]


def _checkin(sample: Sample) -> Question:
    keys = sample.keys
    wanted = {"MessageType": keys["MessageType"], "UDID": keys["UDID"]}
    if keys["MessageType"] == "Authenticate":
        wanted |= {"Topic": keys["Topic"], "SerialNumber": keys["SerialNumber"]}
    elif keys["MessageType"] == "TokenUpdate":
        wanted |= {"Topic": keys["Topic"], "Token": keys["Token"].hex(), "PushMagic": keys["PushMagic"]}
        wanted |= {"UnlockToken": len(keys.get("UnlockToken", b""))}
    return {"What": "checkin", "Data": sample.data}, lambda found: _differs(wanted, found, "the message")


def _report(sample: Sample) -> Question:
    keys = sample.keys
    chain = [
        {name: item[name] for name in ("ErrorCode", "ErrorDomain", "LocalizedDescription")}
        for item in keys.get("ErrorChain", [])
    ]
    wanted = {"UDID": keys["UDID"], "Status": keys["Status"], "CommandUUID": keys.get("CommandUUID", "")}
    wanted["ErrorChain"] = chain
    return {"What": "report", "Data": sample.data}, lambda found: _differs(wanted, found, "the report")


def _command(sample: Sample) -> Question:
    keys = sample.keys
    wanted = {"CommandUUID": keys["CommandUUID"], "RequestType": keys["Command"]["RequestType"]}
    return {"What": "command", "Data": sample.data}, lambda found: _differs(wanted, found, "the command")


def _plist(sample: Sample) -> Question:
    wanted = _as_json(sample.keys)
    return {"What": "plist", "Data": sample.data}, lambda found: _differs(wanted, found["value"], "the plist")


def _signature(sample: Sample) -> Question:
    question = {"What": "mdm-signature", "Data": sample.data, "Text": sample.text}
    return question, lambda found: "" if len(found["signer"]) == 64 else "found no signer"


def _scep_request(sample: Sample) -> Question:
    question = {"What": "scep-request", "Data": sample.data, "Certificate": sample.certificate, "Key": sample.key}
    return question, lambda found: _differs(("19", True), (found["messageType"], bool(found["subject"])), "the request")


def _scep_reply(sample: Sample) -> Question:
    question = {
        "What": "scep-reply",
        "Data": sample.data,
        "Certificate": sample.certificate,
        "Key": sample.key,
        "Authorities": sample.authorities,
    }
    status = {"issued": "0", "refused": "2", "pending": "3"}[sample.text]
    return question, lambda found: _differs(status, found["status"], "the status")


def _ca_chain(sample: Sample) -> Question:
    return {"What": "scep-ca-chain", "Data": sample.data}, lambda found: _differs(
        len(sample.authorities), found["count"], "the chain"
    )


def _signed_profile(sample: Sample) -> Question:
    question = {"What": "signed", "Data": sample.data, "Authorities": sample.authorities}
    return question, lambda found: _differs(sample.text, base64.b64decode(found["content"]).decode(), "the content")


def _json(sample: Sample) -> Question:
    wanted = json.loads(sample.data)
    return {"What": "json", "Data": sample.data}, lambda found: _differs(wanted, found["value"], "the JSON")


def _form(sample: Sample) -> Question:
    wanted = parse_qs(sample.data.decode(), strict_parsing=True)
    return {"What": "form", "Data": sample.data}, lambda found: _differs(wanted, found, "the form")


def _client_certificate(form: str) -> Callable[[Sample], Question]:
    def ask(sample: Sample) -> Question:
        wanted = {"certificate": hashlib.sha256(sample.certificate).hexdigest()}
        return {"What": f"header-{form}", "Text": sample.text}, lambda found: _differs(wanted, found, "the header")

    return ask


#: By parser and form. Parsers in Go, by the package that does the work.
GO: dict[str, dict[str, Callable[[Sample], Question]]] = {
    "NanoMDM": {
        "checkin": _checkin,
        "report": _report,
        "command": _command,
        "signature": _signature,
        "header-nginx": _client_certificate("nginx"),
        "header-rfc9440": _client_certificate("rfc9440"),
    },
    "micromdm/plist": {"checkin": _plist, "report": _plist, "command": _plist, "profile": _plist},
    "smallstep/scep": {
        "scep-request": _scep_request,
        "scep-reply": _scep_reply,
        "certificates": _ca_chain,
        "signed-profile": _signed_profile,
    },
    "Go": {"json": _json, "form": _form},
}


def by_go(foreign: Foreign, parser: str, samples: Iterable[Sample]) -> dict[str, list[str]]:
    """The objections of one of the Go parsers by kind, over all samples whose form it speaks."""
    spoken = [(sample, *GO[parser][sample.form](sample)) for sample in samples if sample.form in GO[parser]]
    answers = foreign.ask([question for _, question, _ in spoken])
    objections: dict[str, list[str]] = {}
    for (sample, _, judge), answer in zip(spoken, answers, strict=True):
        problem = judge(answer["found"]) if answer["ok"] else answer["error"]
        objections.setdefault(sample.kind, []).extend([problem] if problem else [])
    return objections


# ---- openssl


def by_openssl(openssl: OpenSSL, samples: Iterable[Sample], each: int = 3) -> dict[str, list[str]]:
    """openssl's objections by kind; `each`: how many samples of a kind it is shown."""
    objections: dict[str, list[str]] = {}
    shown: dict[str, int] = {}
    for sample in samples:
        check = OPENSSL.get(sample.form)
        if check is None or shown.get(sample.kind, 0) >= each:
            continue
        shown[sample.kind] = shown.get(sample.kind, 0) + 1
        problems = objections.setdefault(sample.kind, [])
        try:
            if problem := check(openssl, sample, str(sample.at_ms // 1000)):
                problems.append(problem)
        except Refused as refusal:
            problems.append(str(refusal))
    return objections


def _ssl_signature(openssl: OpenSSL, sample: Sample, at: str) -> str:
    content = openssl(
        "cms", "-verify", "-inform", "DER", "-in", header_bytes(sample), "-content", sample.data, "-binary",
        "-CAfile", to_pem(*sample.authorities), "-purpose", "any", "-attime", at,
    )  # fmt: skip
    return _differs(sample.data, content, "the content")


def _ssl_request(openssl: OpenSSL, sample: Sample, at: str) -> str:
    envelope = openssl("cms", "-verify", "-inform", "DER", "-in", sample.data, "-noverify", "-binary")
    authority = Identity(sample.certificate, sample.key)
    content = openssl(
        "cms", "-decrypt", "-inform", "DER", "-in", envelope, "-recip", to_pem(authority.certificate), "-inkey",
        identity_to_pem(authority), "-binary",
    )  # fmt: skip
    if "PKCSReq" in sample.kind:
        openssl("req", "-inform", "DER", "-in", content, "-verify", "-noout")
    else:  # IssuerAndSubject (RFC 8894 section 3.3.3)
        openssl("asn1parse", "-inform", "DER", "-in", content)
    return ""


def _ssl_reply(openssl: OpenSSL, sample: Sample, at: str) -> str:
    content = openssl(
        "cms", "-verify", "-inform", "DER", "-in", sample.data, "-CAfile", to_pem(*sample.authorities), "-binary",
        "-purpose", "any", "-attime", at,
    )  # fmt: skip
    if sample.text != "issued":
        return _differs(b"", content, "the content")
    client = Identity(sample.certificate, sample.key)
    issued = openssl(
        "cms", "-decrypt", "-inform", "DER", "-in", content, "-recip", to_pem(client.certificate), "-inkey",
        identity_to_pem(client), "-binary",
    )  # fmt: skip
    listed = openssl("pkcs7", "-inform", "DER", "-in", issued, "-print_certs")
    openssl("verify", "-CAfile", to_pem(*sample.authorities), "-attime", at, "-purpose", "sslclient", listed)
    return ""


def _ssl_certificate(openssl: OpenSSL, sample: Sample, at: str) -> str:
    pem = openssl("x509", "-inform", "DER", "-in", sample.data)
    openssl("verify", "-x509_strict", "-attime", at, "-CAfile", to_pem(*sample.authorities), pem)
    return ""


def _ssl_certificates(openssl: OpenSSL, sample: Sample, at: str) -> str:
    listed = openssl("pkcs7", "-inform", "DER", "-in", sample.data, "-print_certs")
    return _differs(len(sample.authorities), listed.count(b"BEGIN CERTIFICATE"), "the number of certificates")


def _ssl_machine_info(openssl: OpenSSL, sample: Sample, at: str) -> str:
    # The device CA of the factory is nobody's business here, only that the signature is one, and what it covers.
    content = openssl("cms", "-verify", "-inform", "DER", "-in", sample.data, "-noverify", "-binary")
    missing = {"LANGUAGE", "PRODUCT", "SERIAL", "UDID", "VERSION"} - set(plistlib.loads(content))
    return _differs(set(), missing, "the missing keys")


def _ssl_profile(openssl: OpenSSL, sample: Sample, at: str) -> str:
    content = openssl(
        "cms", "-verify", "-inform", "DER", "-in", sample.data, "-CAfile", to_pem(*sample.authorities), "-purpose",
        "any", "-attime", at, "-binary",
    )  # fmt: skip
    plistlib.loads(content)
    return _differs(sample.text, content.decode(), "the content")


OPENSSL: dict[str, Callable[[OpenSSL, Sample, str], str]] = {
    "signature": _ssl_signature,
    "scep-request": _ssl_request,
    "scep-poll": _ssl_request,
    "scep-reply": _ssl_reply,
    "certificate": _ssl_certificate,
    "certificates": _ssl_certificates,
    "signed-profile": _ssl_profile,
    "machine-info": _ssl_machine_info,
}
