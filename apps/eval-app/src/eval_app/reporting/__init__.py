"""Results as JSON, and the page that shows them."""
