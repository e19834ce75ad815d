"""The push certificate portal, as Apple's: vendor-signed requests in, push certificates out; renewing keeps the topic."""
