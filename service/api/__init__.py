"""The HTTP face: one file per resource, one decorator that states each contract, one place for errors."""
