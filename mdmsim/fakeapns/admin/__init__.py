"""To look inside the fake APNs and to plan its faults: a small JSON API, for scenarios and for people."""
