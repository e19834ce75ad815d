"""A device-fleet simulator and conformance test harness for Apple MDM servers."""

__version__ = "0.1.0"
