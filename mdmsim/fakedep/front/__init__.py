"""What speaks HTTP: the web service for MDM servers and the activation endpoint for devices, as ASGI apps."""
