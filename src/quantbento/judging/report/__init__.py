"""What people see from a run."""
