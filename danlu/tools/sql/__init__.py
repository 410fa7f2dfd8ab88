"""Questions to a database that cannot change it: grammar, read-only connection, authorizer, process."""
