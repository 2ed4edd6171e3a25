"""Translating with a trained model."""
