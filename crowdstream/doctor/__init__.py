"""`crowdstream doctor`: checks of the machine, with the remedy for each problem.

There is one module per subject, with small functions that return a `Check` each. They read through
a `Machine`, which tests replace.
"""
