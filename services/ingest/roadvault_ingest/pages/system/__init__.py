"""The system: services, settings, schema, events."""
