"""The HTTP API in the shape of OpenAI's, over one engine."""
