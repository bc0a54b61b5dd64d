"""`crowdstream doctor`: looks at the machine and says what to change, and how.

One module for each subject, of small functions that return a `Check` each. They read through a
`Machine`, so a test can give them any.
"""
