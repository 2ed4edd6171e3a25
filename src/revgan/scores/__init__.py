"""Scores as pure functions of tensors: of images, of label maps, of whole sets; and intervals."""
