"""How devices come to enrol: the enrollment profile, and the page that offers it."""
