"""A fake Device Enrollment Program: the web service of MDM servers, the portal behind it, and what devices get from it."""
