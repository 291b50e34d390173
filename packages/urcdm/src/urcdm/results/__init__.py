"""Results of a finished run: the slide, a preview, quality measures, crops for a report."""
