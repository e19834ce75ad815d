"""A locustfile for benchmarks/load.py: enrolled devices that connect in a steady rhythm, on kept connections."""

from locust import task

from mdmsim.load.shapes import Rollout
from mdmsim.load.users import DeviceUser


class SteadyDevice(DeviceUser):
    @task
    def live(self) -> None:
        self.pace(self.options.every)
        self.connect()


class Steady(Rollout):
    fail_if = ("failures>0", "missed>0")
