"""Hostile and broken input: generators, and a judge of what comes of it.

Each module has ``cases()``, a hypothesis strategy of plain data, and
``check(case, place)``, which feeds one to the package and returns 'accepted'
or raises. :mod:`child` runs it in a process that may hang or die,
:mod:`judge` tells a refusal in our own words from a fault.
"""
