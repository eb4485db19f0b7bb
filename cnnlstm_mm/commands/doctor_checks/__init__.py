"""The checks of tools/doctor.py; they import the standard library alone."""
