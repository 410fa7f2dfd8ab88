"""Questions to a database that cannot change it: a grammar, a read-only connection, an authorizer, a process."""
