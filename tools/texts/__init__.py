"""Help pages and locales, from the live schemas."""
