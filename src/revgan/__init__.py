"""Memory-efficient image-to-image translation in 2D and 3D with reversible GANs."""
