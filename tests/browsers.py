"""Where the real browser is that pages are looked at with, and what happens where there is none."""

from __future__ import annotations

import os
import shutil

#: Debian's Chromium, or the one that MDMSIM_CHROMIUM names.
CHROMIUM = os.environ.get("MDMSIM_CHROMIUM") or shutil.which("chromium")

#: Headless, without a sandbox (continuous integration runs as root), and without a word to the network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Without a browser these tests are skipped, except where CI asks for it: then they fail, so that none is overlooked.
MAY_SKIP = CHROMIUM is None and os.environ.get("MDMSIM_BROWSER") != "required"
REASON = "no Chromium: apt install chromium, or set MDMSIM_CHROMIUM"
