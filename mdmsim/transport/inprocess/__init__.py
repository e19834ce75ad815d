"""A network without sockets: hosts by name, each an ASGI app or a byte handler, on one trio loop and one clock."""

from mdmsim.transport.inprocess.memory import MemoryEnd, Peer
from mdmsim.transport.inprocess.network import Host, InProcessTransport, Network

__all__ = ["Host", "InProcessTransport", "MemoryEnd", "Network", "Peer"]
