"""What the API is, as an OpenAPI document; tests hold it and the running routes together."""
