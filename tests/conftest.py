"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine is no finding: how long an example takes, or takes to be drawn, is not judged by the wall clock.
settings.register_profile("mdmsim", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mdmsim")
