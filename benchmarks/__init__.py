"""What things cost: CPU seconds, and the ratio to a floor that is measured in the same run."""
