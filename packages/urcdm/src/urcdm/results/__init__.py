"""What a finished canvas gives: a slide, a preview, measures of quality."""
