"""Monday morning: devices were away over the weekend, commands have piled up; everyone comes back within minutes.

mdmsim load monday --devices 100 --time 20s
"""

from locust import task

from mdmsim.load.shapes import MondayMorning
from mdmsim.load.users import DeviceUser


class CommutingDevice(DeviceUser):
    @task
    def live(self) -> None:
        self.listen()


class Morning(MondayMorning):
    commands = 3
    fail_if = ("failures>0", "missed>0", "p99(command:queued-to-answered)>30s")
