"""The page on which somebody signs in while a device is in Setup Assistant. No script, no file from elsewhere."""

from __future__ import annotations

from html import escape

from reference_server.enrollment.pages import STYLE
from reference_server.settings import Settings

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}{more}</style>
"""
_MORE = """
p { overflow-wrap: anywhere; }
label { display: block; margin: 1rem 0 .25rem; font-weight: 600; }
input { display: block; width: 100%; font: inherit; color: inherit; background: var(--raised); padding: .55rem .7rem;
  border: 1px solid var(--soft); border-radius: 6px; }
button { margin-top: 1.5rem; font: inherit; font-weight: 600; color: var(--on-accent); background: var(--accent);
  padding: .6rem 1rem; border: 0; border-radius: 6px; }
.wrong { border-left: 4px solid var(--accent); padding-left: .75rem; font-weight: 600; }
"""
_FORM = """<header>
<h1>Sign in to {organization}</h1>
<p class="soft">The device {serial} belongs to {organization} and will be managed by it.</p>
</header>
<main>
{trouble}<form method="post" action="/enroll/web">
<label for="name">Name</label>
<input id="name" name="name" type="text" value="{name}" autocomplete="username" autocapitalize="none" spellcheck="false" required{name_more}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{password_more}>
<button type="submit">Sign in</button>
</form>
</main>
</html>
"""
_TROUBLE = """<p id="trouble" class="wrong" role="alert">The name or the password is wrong. Try again.</p>
"""
_DEAD_END = """<main>
<h1>{title}</h1>
<p>{what}</p>
</main>
</html>
"""


def login_page(settings: Settings, serial: str, *, name: str = "", wrong: bool = False) -> str:
    """The form. `wrong`: the last attempt failed; `name`: what was typed then."""
    told = ' aria-invalid="true" aria-describedby="trouble"' if wrong else ""
    return _HEAD.format(style=STYLE, more=_MORE, title=escape(f"Sign in: {settings.organization}")) + _FORM.format(
        organization=escape(settings.organization),
        serial=escape(serial),
        trouble=_TROUBLE if wrong else "",
        name=escape(name[:200]),
        name_more=told if wrong else " autofocus",
        password_more=f"{told} autofocus" if wrong else "",
    )


def dead_end_page(title: str, what: str) -> str:
    """A page that leads nowhere, and says why."""
    return _HEAD.format(style=STYLE, more=_MORE, title=escape(title)) + _DEAD_END.format(
        title=escape(title), what=escape(what)
    )
