"""What a person sees who opens the server's address in a browser."""

from __future__ import annotations

from html import escape

from reference_server.settings import Settings

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{organization}</title>
<style>
  :root {{ color-scheme: light dark; --accent: #0a66c2 }}
  @media (prefers-color-scheme: dark) {{ :root {{ --accent: #6cb2ff }} }}
  body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 3rem auto; padding: 0 1rem }}
  a {{ color: var(--accent) }}
  .enrol {{ display: inline-block; border: 1px solid; border-radius: .5rem; padding: .6rem 1rem; text-decoration: none }}
  code {{ overflow-wrap: anywhere }}
</style>
<h1>{organization}</h1>
<p>This is the reference MDM server of mdmsim. It manages simulated Apple devices.</p>
<p><a class="enrol" href="/enroll">Get the enrollment profile</a></p>
<p>From a terminal: <code>mdmsim enroll {url}/enroll --count 3</code></p>
<ul>
  <li><a href="/api/v1/openapi.json">Description of the API</a></li>
  <li><a href="/healthz">Health</a>, <a href="/readyz">readiness</a>, <a href="/version">version</a></li>
</ul>
</html>
"""


def landing_page(settings: Settings) -> str:
    """The page at `/`, as HTML."""
    return _PAGE.format(organization=escape(settings.organization), url=escape(settings.public_url))
