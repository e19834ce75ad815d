"""The wire vocabulary of Apple MDM as plain data: values in, bytes out, and back. No I/O, no time, no chance."""
