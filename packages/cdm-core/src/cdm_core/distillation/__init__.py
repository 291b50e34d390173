"""What students of few steps learn from: teachers, real images, discriminators."""
