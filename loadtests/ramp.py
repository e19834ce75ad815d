"""Rollout day: new devices come one after the other and enrol; whoever is enrolled connects now and then.

mdmsim load ramp --devices 200 --time 60s
"""

from locust import task

from mdmsim.load.shapes import Rollout
from mdmsim.load.users import DeviceUser


class NewDevice(DeviceUser):
    fresh = True

    @task
    def live(self) -> None:
        self.pace(self.options.every or 10.0)
        self.connect()


class RolloutDay(Rollout):
    fail_if = ("failures>0", "missed>0", "p95(device:enrolled)>30s")
