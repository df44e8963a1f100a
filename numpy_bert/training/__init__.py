"""Training: optimizer, schedule, masking, fit."""
