"""Objectives, the training loop, schedules and checkpoints."""
