"""Traces: what became of a request or an archive, across the services. Off unless ROADVAULT_OTLP_URL is set."""
