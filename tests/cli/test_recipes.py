"""What to set, per server: complete, the same in the documentation, and true where the language is at hand."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from mdmsim.cli.recipes import NAMES, PAGE, RECIPES, every, places
from mdmsim.protocol.payloads import CertificatePayload, MdmPayload
from mdmsim.protocol.profile import parse_profile
from tests.cli.commands import CommandLine, process
from tests.cli.recipe_places import COMMAND, PLACES, STARTED
from tests.docs.pages import ROOT
from tests.interop.needs import from_path

DOCUMENTED = (ROOT / PAGE).read_text(encoding="utf-8")


def test_nothing_is_left_out_where_everything_is_there() -> None:
    told = every(PLACES)
    assert tuple(told) == tuple(RECIPES)
    for name, recipe in RECIPES.items():
        steps, notes = ([one for one in lines if "{direct}" not in one] for lines in (recipe.steps, recipe.notes))
        assert (len(told[name]["steps"]), len(told[name]["notes"])) == (len(steps), len(notes))


def test_without_a_proxy_there_is_the_base_url_and_no_word_of_what_the_proxy_does() -> None:
    facts = {"apns": STARTED.facts()["apns"]}
    told = every(places(facts, STARTED.names))
    assert told["generic"]["steps"] == [
        "export SSL_CERT_FILE=world/apple-ca.pem",
        "the base URL for pushes: https://127.0.0.1:8444",
        "mdmsim doctor --push https://127.0.0.1:8444 --ca world/apple-ca.pem --certificate world/push.pem",
    ]
    assert [name for name in told if "The proxy refuses" in " ".join(told[name]["notes"])] == []


@pytest.mark.parametrize("name", RECIPES)
def test_the_page_says_what_the_command_prints(name: str) -> None:
    told = every(PLACES)[name]
    found = re.search(
        rf"^### {re.escape(told['title'])}\n\n(.+?):\n\n```\n(.*?)```\n\n(.*?)(?=\n#|\Z)", DOCUMENTED, re.S | re.M
    )
    assert found, f"{PAGE} has no section {told['title']}"
    assert found[1] == ("The default" if name == "generic" else f"`--for {name}`")
    assert found[2].splitlines() == told["steps"]
    assert found[3].strip().splitlines() == [f"- {note}" for note in told["notes"]]


def test_the_page_has_no_recipe_that_is_not_printed() -> None:
    assert re.findall(r"^### (.*)$", DOCUMENTED, re.M) == [recipe.title for recipe in RECIPES.values()]
    assert f"\n{COMMAND}\n" in DOCUMENTED


def test_lines_about_what_was_not_started_are_left_out() -> None:
    facts = {"dep": STARTED.facts()["dep"]}
    told = every(places(facts, STARTED.names))
    assert told["generic"]["steps"] == ["export SSL_CERT_FILE=world/apple-ca.pem"]
    assert told["hosts"]["steps"] == ["127.0.0.1 mdmenrollment.apple.com iprofiles.apple.com"]
    assert "curl" not in " ".join(told["nanomdm"]["steps"])
    assert every({}) == {}


def test_who_listens_everywhere_is_found_at_loopback() -> None:
    assert places(STARTED.facts(), STARTED.names, "0.0.0.0")["hosts_address"] == "127.0.0.1"


@pytest.mark.live
@pytest.mark.parametrize("name", [None, "nanomdm", "java"])
def test_one_recipe_is_printed(name: str | None) -> None:
    wanted = ("--for", name) if name else ()
    with process("up", "--only", "apns,proxy", *wanted) as running:
        assert running.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            said += running.stdout.readline()
    assert said.count("\n  for ") == 1
    assert (f"  for {RECIPES[name].title}:" if name else "  for an unmodified server that pushes to Apple:") in said
    assert f"--for {'|'.join(NAMES)}" in said


# The recipes, followed to the letter.


@pytest.fixture(scope="module")
def recipes(up: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = up["recipes"]
    return found


def environment(recipe: dict[str, list[str]]) -> dict[str, str]:
    """This machine's, with what the recipe exports."""
    exports = dict(step.removeprefix("export ").split("=", 1) for step in recipe["steps"] if step.startswith("export "))
    others = re.compile(r"(?i).*_proxy|SSL_CERT_.*|CURL_CA_BUNDLE|REQUESTS_CA_BUNDLE|NODE_EXTRA_CA_CERTS")
    return {name: value for name, value in os.environ.items() if not others.fullmatch(name)} | exports


def ran(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PUSH = "/3/device/" + "ab" * 32


@pytest.mark.live
@pytest.mark.interop
def test_node_pushes_as_its_recipe_says(recipes: dict[str, Any], up: dict[str, Any], tmp_path: Path) -> None:
    recipe = recipes["node"]
    call = next(step for step in recipe["steps"] if step.startswith("http2: ")).removeprefix("http2: ")
    pem = json.dumps(up["apns"]["push_file"])
    (tmp_path / "push.js").write_text(f"""
        const http2 = require('http2'), cert = require('fs').readFileSync({pem}), key = cert
        const session = {call}
        session.on('error', error => {{ console.error(error); process.exit(1) }})
        const stream = session.request({{':method': 'POST', ':path': '{PUSH}'}})
        let said = ''
        stream.on('data', data => said += data)
        stream.on('end', () => {{ console.log(said); session.close() }})
        stream.end('{{"mdm":"x"}}')
    """)
    said = ran([from_path("node"), "push.js"], tmp_path, environment(recipe))
    assert json.loads(said) == {"reason": "BadDeviceToken"}


@pytest.mark.live
@pytest.mark.interop
def test_python_pushes_as_its_recipe_says(recipes: dict[str, Any], tmp_path: Path) -> None:
    recipe = recipes["python"]
    call = next(step for step in recipe["steps"] if step.startswith("httpx: ")).removeprefix("httpx: ")
    (tmp_path / "push.py").write_text(
        "import ssl, httpx\n"
        f"{call.replace('AsyncClient', 'Client').replace('; httpx', '; client = httpx')}\n"
        f"print(client.post('https://api.push.apple.com{PUSH}', content=b'{{}}').json()['reason'])\n"
    )
    assert ran([sys.executable, "push.py"], tmp_path, environment(recipe)).strip() == "BadDeviceToken"


@pytest.mark.live
@pytest.mark.interop
def test_aioapns_pushes_as_its_recipe_says(recipes: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("aioapns", reason="aioapns is not installed here")
    recipe = recipes["python"]
    call = next(step for step in recipe["steps"] if step.startswith("aioapns: ")).removeprefix("aioapns: ")
    led, client = call.rsplit("; ", 1)
    (tmp_path / "push.py").write_text(
        "import asyncio, aioapns.connection\n"
        "from aioapns import APNs, NotificationRequest\n"
        f"{led}\n"
        "async def main():\n"
        f"    client = {client}\n"
        f"    note = NotificationRequest(device_token='{'ab' * 32}', message={{'mdm': 'x'}})\n"
        "    print((await client.send_notification(note)).description)\n"
        "    client.pool.close()\n"
        "asyncio.run(main())\n"
    )
    assert ran([sys.executable, "push.py"], tmp_path, environment(recipe)).strip() == "BadDeviceToken"


@pytest.mark.live
@pytest.mark.interop
def test_java_comes_through_as_its_recipe_says(recipes: dict[str, Any], tmp_path: Path) -> None:
    if shutil.which("javac") is None:
        pytest.skip("no JDK here")
    recipe = recipes["java"]
    keytool, pkcs12, java = (shlex.split(step) for step in recipe["steps"][:3])
    ran([from_path("keytool"), *keytool[1:]], tmp_path, environment(recipe))
    ran([from_path("openssl"), *pkcs12[1:]], tmp_path, environment(recipe))
    (tmp_path / "Ask.java").write_text("""
        import java.net.URI;
        import java.net.http.*;
        public class Ask {
            public static void main(String[] given) throws Exception {
                var request = HttpRequest.newBuilder(URI.create("https://gdmf.apple.com/v2/pmv")).build();
                System.out.println(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).statusCode());
            }
        }
    """)
    options = [word for word in java[1:] if word.startswith("-D")]
    assert ran([from_path("java"), *options, "Ask.java"], tmp_path, environment(recipe)).strip() == "200"


@pytest.mark.live
@pytest.mark.interop
def test_curl_pushes_with_the_variables_of_the_generic_recipe(
    recipes: dict[str, Any], up: dict[str, Any], tmp_path: Path
) -> None:
    recipe = recipes["generic"]
    command = [from_path("curl"), "-sS", "--http2", "--cert", up["apns"]["push_file"], "-d", '{"mdm":"x"}']
    for port in ("", ":2197"):
        said = ran([*command, f"https://api.push.apple.com{port}{PUSH}"], tmp_path, environment(recipe))
        assert json.loads(said) == {"reason": "BadDeviceToken"}


def test_mdmctl_keeps_its_own_trust() -> None:
    """Only micromdm is led to the fakes: SSL_CERT_FILE replaces all roots of a Go program, mdmctl included."""
    steps = every(PLACES)["micromdm"]["steps"]
    assert [step.split()[2] for step in steps if "SSL_CERT_FILE" in step] == ["micromdm"]
    assert not any(step.startswith("export ") for step in steps)


@pytest.mark.live
def test_one_file_enrols_all_devices_of_mdmb_whose_reports_have_no_content_type(
    mdmsim: CommandLine, tmp_path: Path
) -> None:
    with process("up", "--only", "server", "--for", "mdmb", "--json") as up:
        assert up.stdout is not None
        recipe = json.loads(up.stdout.readline())["recipes"]["mdmb"]
        export, fetch = (step for step in recipe["steps"] if not step.startswith("mdmb "))
        from_path("curl")
        done = subprocess.run(
            ["sh", "-c", f"{export}; {fetch}"], cwd=tmp_path, env=environment({"steps": []}), capture_output=True
        )
        assert done.returncode == 0, done.stderr
        profile = parse_profile((tmp_path / "enroll.mobileconfig").read_bytes())
        ended = mdmsim("enroll", tmp_path / "enroll.mobileconfig", "--count", 2, "--store", tmp_path / "devices")
        assert ended.code == 0, ended.err
        # Past the content type, to what a request without an identity lacks.
        url = MdmPayload.of(profile.of_type("com.apple.mdm")[0]).server_url
        (payload,) = profile.of_type("com.apple.security.root")
        context = ssl.create_default_context(cadata=CertificatePayload.of(payload).der)
        with httpx.Client(verify=context, trust_env=False) as client:
            answer = client.put(url, content=b"<plist/>")
        assert (answer.status_code, "neither a client certificate" in answer.text) == (400, True)
