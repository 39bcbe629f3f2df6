"""What the services share: settings, the served model, request limits. Knows nothing of recipes or quantizers."""
