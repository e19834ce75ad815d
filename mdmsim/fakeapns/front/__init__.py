"""The provider's side: HTTP/2 over TLS."""
