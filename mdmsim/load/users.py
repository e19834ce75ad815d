"""`DeviceUser`: a simulated device as a Locust user. Locustfiles subclass it and say in tasks what the device does."""

from __future__ import annotations

from typing import Any

from locust import User
from locust.exception import StopUser

from mdmsim.load import hooks
from mdmsim.load.crew import Crew
from mdmsim.load.life import Gone, Life

hooks.install()


class DeviceUser(User):
    """One device. It is enrolled when its tasks begin: taken from the store where one is, enrolled anew otherwise.

    `fresh`: always a new device. A device that the server disowns stops, and is counted.
    """

    abstract = True

    fresh = False

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.options = environment.parsed_options
        self.life: Life

    @property
    def crew(self) -> Crew:
        """All devices of this process, and what they share."""
        return hooks.crew_of(self.environment)

    def on_start(self) -> None:
        """Take a device and have it enrolled."""
        self.life = self.crew.recruit(fresh=self.fresh or bool(self.options.fresh))
        self.life.enroll()

    def on_stop(self) -> None:
        """Leave the device; it keeps its enrollment."""
        if hasattr(self, "life"):
            self.life.driven = False

    # --- what tasks are made of ---------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect now and obey until the server's queue is empty."""
        self._do(self.life.connect)

    def listen(self, seconds: float = 3600.0) -> None:
        """Live for that long: connect when a push comes, retry what failed."""
        self._do(self.life.listen, seconds)

    def pace(self, seconds: float) -> None:
        """As `listen`, until that long after the last call: the rhythm of a loop. The first call spreads devices."""
        self._do(self.life.pace, seconds)

    def ask(self, request_type: str, **keys: Any) -> None:
        """Have the server queue a command for this device, and push: `self.ask("DeviceInformation", Queries=[...])`."""
        self.crew.ask(self.life, request_type, keys)

    def _do(self, act: Any, *arguments: Any) -> None:
        try:
            act(*arguments)
        except Gone:
            raise StopUser from None
