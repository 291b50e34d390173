"""Students of few steps: their teachers, their finishing on real images, discriminators."""
