"""What to set so that an unmodified server comes to the fakes instead of to Apple: a recipe per server and language.

The one place where these lines stand: `mdmsim up` prints them, `--json` carries them, and
docs/putting-it-in-the-path.md shows them (a test compares). A line whose {places} are not all there (no proxy, no fake
DEP) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any
from urllib.parse import urlsplit

from mdmsim.proxy.hosts import ANSWERED_HOSTS

#: Where the recipes are explained.
PAGE = "docs/putting-it-in-the-path.md"

#: Roots that a Go program needs besides, where Debian and its kin keep them.
_SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True, slots=True)
class Recipe:
    """`steps`: lines to type or to put where they say. `notes`: what makes them not work, and why."""

    title: str
    steps: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def told(self, places: Mapping[str, str]) -> dict[str, list[str]]:
        """Steps and notes with the places filled in, without the lines whose places are not there."""
        return {name: [line.format_map(places) for line in lines if _known(line, places)] for name, lines in (
            ("steps", self.steps), ("notes", self.notes),
        )}  # fmt: skip


def _known(line: str, places: Mapping[str, str]) -> bool:
    return all(field in places for _, field, _, _ in Formatter().parse(line) if field)


_ENVIRONMENT = ("export HTTPS_PROXY={proxy}", "export SSL_CERT_FILE={ca_file}")
# Nothing is filled in here: the place says that the line is for those who have a proxy.
_REFUSES = "The proxy {proxy:.0}refuses every host that is not Apple's: put hosts that the server needs besides (webhooks, storage) into NO_PROXY."
_GO = (
    "Set before the program starts: Go reads the proxy variables once.",
    "Go sends nothing to localhost or 127.0.0.1 through a proxy: a webhook there, and a base URL of a fake, are reached directly.",
    "SSL_CERT_FILE replaces all roots of a Go program. If it must reach other hosts as well: "
    f"cat {{ca_file}} {_SYSTEM_ROOTS} > roots.pem, and name that file.",
)
_PROGRAMS = "Whole programs, which the tests run: docs/fake-apns.md."

RECIPES: Mapping[str, Recipe] = {
    "generic": Recipe(
        "Any server that honours the proxy variables",
        (
            *_ENVIRONMENT,
            "mdmsim doctor --push https://api.push.apple.com --proxy {proxy} --ca {ca_file} --certificate {push_file}",
            "{direct}the base URL for pushes: {apns}",
            "{direct}mdmsim doctor --push {apns} --ca {ca_file} --certificate {push_file}",
        ),
        (
            _REFUSES,
            "In a Go program SSL_CERT_FILE replaces all other roots.",
            "`mdmsim doctor --push` tries the way{push_file:.0}, and says where it ends.",
            "{direct}Whoever can dial Apple's names only needs the proxy as well: add it to --only.",
        ),
    ),
    "nanomdm": Recipe(
        "NanoMDM",
        (
            *_ENVIRONMENT,
            "nanomdm -listen 127.0.0.1:9000 -api $NANOMDM_API_KEY -ca depot/ca.pem -storage filekv -storage-dsn db",
            "curl -u nanomdm:$NANOMDM_API_KEY -T {push_file} http://127.0.0.1:9000/v1/pushcert",
            'NanoDEP: PUT /v1/config/NAME with {{"base_url": "{dep}"}}',
        ),
        (
            *_GO,
            _REFUSES,
            "NanoMDM pushes to api.push.apple.com:443 only and has no base URL; the proxy is the way. NanoDEP takes a base URL, and SSL_CERT_FILE as well.",
            "It keeps the last certificate of an uploaded file: upload the leaf alone, with its key.",
            "Its push client has no timeout: a fault that never answers hangs that push for good.",
        ),
    ),
    "micromdm": Recipe(
        "MicroMDM",
        (
            "HTTPS_PROXY={proxy} SSL_CERT_FILE={ca_file} micromdm serve -server-url https://localhost:8443 -http-addr 127.0.0.1:8443 "
            "-api-key $MICROMDM_API_KEY -tls-cert tls.crt -tls-key tls.key -config-path db -filerepo repo",
            "mdmctl config set -name lab -api-token $MICROMDM_API_KEY -server-url https://localhost:8443 && mdmctl config switch -name lab",
            "openssl x509 -in {push_file} -out push-cert.pem",
            "openssl rsa -in {push_file} -traditional -aes128 -passout pass:mdmsim -out push-key.pem",
            "mdmctl mdmcert upload -cert push-cert.pem -private-key push-key.pem -password mdmsim",
        ),
        (
            *_GO,
            _REFUSES,
            "The two variables are for micromdm alone: with SSL_CERT_FILE mdmctl would not trust micromdm's own certificate any more. Where that is from a CA of "
            "yours, start mdmctl with SSL_CERT_FILE=ca.pem, or let mdmctl config set have -skip-verify.",
            "Before the push certificate is uploaded /mdm/enroll hands out a profile with an empty Topic, which devices refuse (MCMDMErrorDomain 12022).",
            "Its profile carries micromdm's own certificate and not the CA that signed it: mdmsim enroll needs --trust ca.pem, which the store then keeps.",
            "It gives a push 20 seconds, and pushes only to tokens of 64 to 200 hex digits.",
            "DEP: give it a server token of the fake's portal; the proxy leads mdmenrollment.apple.com there. "
            "MICROMDM_DEPSIM_URL does not: it brings keys of its own.",
            "TLS alerts that end in `tls: internal error` it takes for an expired push certificate.",
        ),
    ),
    "fleet": Recipe(
        "Fleet",
        (
            "export FLEET_DEV_MDM_APPLE_PUSH_SERVER_URL={apns}",
            "export FLEET_DEV_GDMF_URL={catalogue}/v2/pmv",
            "export SSL_CERT_FILE={ca_file}",
            "export HTTPS_PROXY={proxy}",
            "fleet serve --dev",
        ),
        (
            "The FLEET_DEV_ variables count only with --dev, and FLEET_DEV_MDM_APPLE_DISABLE_PUSH must not be set.",
            "FLEET_DEV_GDMF_URL is plain http on purpose: for the OS catalogue Fleet trusts Apple's root alone, whatever SSL_CERT_FILE says.",
            "FLEET_DEV_VPP_URL leads Apps and Books to a fake of yours.",
            *_GO,
            _REFUSES,
        ),
    ),
    "go": Recipe(
        "A Go program",
        _ENVIRONMENT,
        (
            *_GO,
            _REFUSES,
            "http.DefaultTransport honours the variables. A Transport of one's own needs Proxy: http.ProxyFromEnvironment and "
            "ForceAttemptHTTP2: true; buford's default has no proxy: use a base URL or a hosts file there.",
            "A program with a base URL takes {apns}.",
            _PROGRAMS,
        ),
    ),
    "java": Recipe(
        "Java",
        (
            "keytool -importcert -noprompt -alias mdmsim -file {ca_file} -keystore mdmsim-trust.p12 -storetype PKCS12 -storepass mdmsim",
            "openssl pkcs12 -export -in {push_file} -out push.p12 -passout pass:mdmsim",
            "java -Djavax.net.ssl.trustStore=mdmsim-trust.p12 -Djavax.net.ssl.trustStorePassword=mdmsim "
            "-Dhttps.proxyHost={proxy_host} -Dhttps.proxyPort={proxy_port} -jar server.jar",
            'pushy: new ApnsClientBuilder().setApnsServer("{apns_host}", {apns_port}).setTrustedServerCertificateChain(new File("{ca_file}"))'
            '.setClientCredentials(new File("push.p12"), "mdmsim")',
            'pushy, through the proxy: .setProxyHandlerFactory(new HttpProxyHandlerFactory(new InetSocketAddress("{proxy_host}", {proxy_port})))',
        ),
        (
            "Java reads neither HTTPS_PROXY nor SSL_CERT_FILE: both are set explicitly. The trust store replaces the JDK's own.",
            "The -D options reach java.net's clients. Netty's (pushy) know none of them: its proxy and its trust are set on its builder.",
            "pushy sends apns-expiration 0 unless told otherwise: a push to a device that is not connected is dropped.",
        ),
    ),
    "python": Recipe(
        "Python",
        (
            *_ENVIRONMENT,
            "export REQUESTS_CA_BUNDLE={ca_file}",
            'httpx: context = ssl.create_default_context(); context.load_cert_chain("{push_file}"); httpx.AsyncClient(http2=True, verify=context)',
            'aioapns: to = aioapns.connection.APNsProductionClientProtocol; to.APNS_SERVER, to.APNS_PORT = "{apns_host}", {apns_port}; APNs(client_cert="{push_file}")',
        ),
        (
            "httpx honours all three of HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE; requests takes REQUESTS_CA_BUNDLE and no SSL_CERT_FILE (and speaks no HTTP/2: "
            "for DEP and the like).",
            "aioapns knows Apple's hosts only, as attributes of a class; its own proxy arguments do not work on Python 3.11 and newer (aioapns 4.0). Its trust comes from SSL_CERT_FILE.",
            "Zentral checks the OS catalogue against Apple's own CAs, which no setting replaces: it cannot be led here.",
            _REFUSES,
            _PROGRAMS,
        ),
    ),
    "node": Recipe(
        "Node",
        (
            "export NODE_EXTRA_CA_CERTS={ca_file}",
            'node-apn: new apn.Provider({{ cert: "push-both.pem", key: "push-both.pem", address: "{apns_host}", port: {apns_port} }})',
            'http2: http2.connect("{apns}", {{ cert, key }})',
        ),
        (
            "NODE_EXTRA_CA_CERTS adds to Node's roots, and is read once, when the process starts.",
            "Node's https and http2 know no HTTPS_PROXY: give an address, or use a hosts file.",
            "node-apn takes any address but Apple's for the sandbox, and wants the sandbox's mark in the certificate then: mdmsim apns certificate --environment both "
            "--out push-both.pem, made known with --push-certificate push-both.pem. Its port must be a number.",
            "Through its proxy option node-apn loses the client certificate: do not use that with certificates.",
            _PROGRAMS,
        ),
    ),
    "mdmb": Recipe(
        "mdmb, in place of mdmsim's own devices",
        (
            "export SSL_CERT_FILE={server_ca_file} API_KEY={api_key}",
            'curl -sS --cacert {server_ca_file} -H "Authorization: Bearer $API_KEY" {server}/api/v1/profiles -d \'{{"sign": false, "devices": null}}\' '
            "| python3 -c 'import base64, json, sys; sys.stdout.buffer.write(base64.b64decode(json.load(sys.stdin)[\"content\"]))' > enroll.mobileconfig",
            "mdmb devices-create -n 3",
            "mdmb devices-enroll -file enroll.mobileconfig",
            "mdmb devices-connect",
        ),
        (
            "It sends no Content-Type with its reports, which Apple's devices do, and the reference server asks for. `--for mdmb` starts the server with "
            "--content-type optional; so does mdmsim serve --content-type optional.",
            "It reads unsigned profiles only, and one file enrols all of its devices: so the profile is minted unsigned, and its challenge is good for any number.",
            "It hears no pushes: devices-connect stands for one.",
        ),
    ),
    "hosts": Recipe(
        "A hosts file",
        ("{hosts_address} {push_hosts}", "{hosts_address} {dep_hosts}", "{hosts_address} {answered_hosts}"),
        (
            "For servers with neither a base URL nor a proxy. Start with --hosts-port 443 --hosts-port 2197 (mdmsim up, mdmsim proxy): one address answers for all of "
            "Apple's names on these ports.",
            "Ports below 1024 need privileges: run it as root, in a network namespace, or after sysctl net.ipv4.ip_unprivileged_port_start=443.",
            "The server trusts {ca_file} as with the proxy. Take the lines out again afterwards: they lead everything on this machine away from Apple.",
        ),
    ),
}

#: What `--for` takes.
NAMES = tuple(name for name in RECIPES if name != "generic")


def places(
    facts: Mapping[str, Mapping[str, Any]], hosts: Mapping[str, tuple[str, ...]], address: str = "127.0.0.1"
) -> dict[str, str]:
    """What the recipes fill in, of what was started (as `Universe.facts` has it).

    `hosts`: Apple's names that each fake answers under, as `apns` and `dep`; `address`: where they all are.
    """
    found: dict[str, str] = {}
    for name in ("apns", "dep", "proxy"):
        if (part := facts.get(name)) is not None:
            split = urlsplit(part["url"])
            found |= {name: part["url"], f"{name}_host": split.hostname or "", f"{name}_port": str(split.port)}
            found["ca_file"] = part["ca_file"]
    if (apns := facts.get("apns")) is not None:
        found |= {"push_file": apns["push_file"], "push_hosts": " ".join(hosts["apns"])}
    if "dep" in facts:
        found["dep_hosts"] = " ".join(hosts["dep"])
    if (answers := facts.get("catalogue")) is not None:
        found |= {"catalogue": answers["url"], "answered_hosts": " ".join(ANSWERED_HOSTS)}
    if (server := facts.get("server")) is not None:
        found |= {"server": server["url"], "server_ca_file": server["ca_file"], "api_key": server["api_key"]}
    if found.keys() & {"apns", "dep"} and "proxy" not in found:
        #: Nothing to print: the mark of lines for those who reach the fakes without a proxy.
        found["direct"] = ""
    if found.keys() & {"apns", "dep", "proxy"}:
        # Who listens everywhere is found at loopback's address on the same machine.
        found["hosts_address"] = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    return found


def every(filled: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """All recipes, filled in: name to title, steps and notes. Those of which no step is left are absent."""
    if not filled:
        return {}
    told = {name: {"title": recipe.title, **recipe.told(filled)} for name, recipe in RECIPES.items()}
    return {name: recipe for name, recipe in told.items() if recipe["steps"]}
