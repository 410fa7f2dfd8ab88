"""What an assistant may call: a calculator, search with citations, SQL, the user's own; none can do harm."""
