"""Load tests with Locust: devices as Locust users, shapes, pass criteria. Locust is imported here and nowhere else.

In a Locust process gevent has patched sockets and threads, and trio must not run: everything here is blocking code.
This file imports nothing: the command line reads criteria and files without loading Locust.
"""
