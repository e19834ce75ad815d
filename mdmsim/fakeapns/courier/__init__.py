"""The device's side: how pushes reach simulated devices. One connection carries the tokens of a whole fleet process.

`docs/courier.md` describes the protocol for programs in other languages.
"""
