"""The reference MDM server: what a correct server does, small enough to read.

`create_app(settings, clock, chance, outbound)` makes the ASGI application; `python -m reference_server` runs it live.
"""

from reference_server.app import create_app
from reference_server.settings import BadSettings, Settings

__all__ = ["BadSettings", "Settings", "create_app"]
