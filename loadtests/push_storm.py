"""Push storm: the same command for every device at the same moment, in waves; each must answer.

mdmsim load push_storm --devices 100 --time 15s --every 5
"""

from locust import task

from mdmsim.load.shapes import PushStorm
from mdmsim.load.users import DeviceUser


class ListeningDevice(DeviceUser):
    @task
    def live(self) -> None:
        self.listen()


class Storm(PushStorm):
    request_type = "DeviceInformation"
    queries = ("DeviceName", "OSVersion", "SerialNumber")
    fail_if = ("failures>0", "missed>0", "p99(command:queued-to-answered)>30s")
