"""Scenarios: stories in YAML about devices and their server, run in process or live. Import from the submodules.

`load` reads files, `runner` runs cases, `registry` holds the steps, `blocking` is the same vocabulary for Python.
"""
