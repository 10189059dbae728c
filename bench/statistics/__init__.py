"""Numbers over processes, and how many processes they need."""
