"""Small helpers that no layer owns; importing this package loads nothing heavy."""
