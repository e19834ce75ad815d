"""Certificates, CMS, SCEP: bytes in, bytes out. No sockets, no files but the key pool's, no clock or chance of its own."""
