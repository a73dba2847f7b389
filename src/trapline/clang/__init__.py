"""C through libclang, for both front ends: parse text, read its types; and names that only kernel headers have."""
