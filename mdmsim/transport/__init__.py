"""What carries a flow's wishes out: drivers, HTTP clients for trio and for blocking code, a network in process, wrappers.

Import from the submodules: this package imports nothing, so that a process patched by gevent never loads trio.
"""
