"""What results say: learning rates, and what else is read off stored trials."""
