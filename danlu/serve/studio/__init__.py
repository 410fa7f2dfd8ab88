"""The web pages on the server of the API: people talk with the model, teach it, and see it get better."""
