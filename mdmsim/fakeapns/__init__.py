"""A stand-in for Apple's push service: service logic, an HTTP/2 front for providers, a courier for devices."""
