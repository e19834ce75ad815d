"""What a person sees who opens the server's address in a browser."""

from __future__ import annotations

from html import escape

from reference_server.api.openapi import server_version
from reference_server.enrollment.access import WHO
from reference_server.settings import Settings

#: The page loads nothing, runs nothing and may not be framed.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

# Colours and type of all pages of mdmsim (mdmsim/report/page/look.css); the server stands alone, so it repeats them.
STYLE = """
:root { color-scheme: light dark; --page: #fff; --raised: #f5f6f8; --line: #dcdfe5; --text: #1a1d23; --soft: #59606d;
  --accent: #2a5bd7; --on-accent: #fff; --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
@media (prefers-color-scheme: dark) { :root { --page: #15171c; --raised: #1d2027; --line: #30343d; --text: #e7e9ed;
  --soft: #a0a7b4; --accent: #8fb0ff; --on-accent: #15171c; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 var(--sans); }
main, header, footer { max-width: 44rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: clamp(1.5rem, 6vw, 4rem); }
h1 { font-size: clamp(1.35rem, 1rem + 1.6vw, 2rem); line-height: 1.25; letter-spacing: -.015em; margin: 0 0 .4rem;
  overflow-wrap: anywhere; text-wrap: balance; }
h2 { font-size: 1rem; margin: 2rem 0 .5rem; }
p { margin: 0 0 .75rem; }
.soft, footer { color: var(--soft); }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: .18em; }
.enrol { display: inline-block; background: var(--accent); color: var(--on-accent); font-weight: 600;
  padding: .6rem 1rem; border-radius: 6px; text-decoration: none; }
code, pre { font: .87em/1.5 var(--mono); }
pre { margin: 0 0 .75rem; padding: .7rem .9rem; background: var(--raised); border: 1px solid var(--line);
  border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .25rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
footer { padding-top: 2rem; padding-bottom: 3rem; font-size: .92em; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } }
"""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{organization}</title>
<style>{style}</style>
<header>
<h1>{organization}</h1>
<p class="soft">The reference MDM server of mdmsim. It manages simulated Apple devices.</p>
</header>
<main>
<h2>Enrol a device</h2>
<p><a class="enrol" href="/enroll">Get an enrollment profile</a></p>
<p>Profiles are given to {who} (setting <code>enroll_access</code>).</p>
<p>Or three at once, from a terminal:</p>
<pre>mdmsim enroll {url}/enroll --count 3</pre>
<h2>Drive it</h2>
<p>Every call but its own <a href="/api/v1/openapi.json">description</a> (OpenAPI 3.1) wants the key that the server was
started with.</p>
<pre>curl --cacert ca-root.pem -H "Authorization: Bearer $API_KEY" {url}/api/v1/devices</pre>
<h2>About it</h2>
<dl>
<dt>Check-in</dt><dd><code>{checkin}</code></dd>
<dt>Commands</dt><dd><code>{connect}</code></dd>
<dt>Identities</dt><dd><code>{scep}</code> (SCEP)</dd>
<dt>Push topic</dt><dd><code>{topic}</code></dd>
<dt>State</dt><dd><a href="/healthz">health</a>, <a href="/readyz">readiness</a>, <a href="/version">version</a></dd>
</dl>
</main>
<footer>mdmsim {version}</footer>
</html>
"""


def landing_page(settings: Settings) -> str:
    """The page at `/`, as HTML."""
    return _PAGE.format(
        style=STYLE,
        organization=escape(settings.organization),
        who=WHO[settings.enroll_access],
        url=escape(settings.public_url),
        checkin=escape(settings.checkin_url),
        connect=escape(settings.server_url),
        scep=escape(settings.scep_url),
        topic=escape(settings.topic),
        version=escape(server_version()),
    )
