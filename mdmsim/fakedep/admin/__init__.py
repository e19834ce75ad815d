"""The admin surface: the portal, faults and a look inside, as JSON over HTTP."""
