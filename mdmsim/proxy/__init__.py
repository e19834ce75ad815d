"""The way in for unmodified servers: a CONNECT proxy to the fakes, and a TLS front for servers that speak plain HTTP."""
