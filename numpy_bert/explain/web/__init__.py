"""The page: one HTML file, from a reading."""
