"""Model directories: loaded, saved, converted, quantised."""
