"""What a run found: rows for a table on the console, and `report.json`."""
