"""Trained models on the Hugging Face hub."""

from revgan.sharing.pushing import PushOptions, card_of, push

__all__ = ["PushOptions", "card_of", "push"]
