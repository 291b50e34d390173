"""Tables of readers' answers: pairs of images, single images, and CSV files."""
