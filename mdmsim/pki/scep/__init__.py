"""SCEP (RFC 8894): the messages, a client that asks as Apple's devices do, and a server. Bytes in, bytes out."""
