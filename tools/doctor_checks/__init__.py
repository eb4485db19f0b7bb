"""The checks of tools/doctor.py; nothing but the standard library at import."""
