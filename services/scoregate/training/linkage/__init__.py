"""Which records are the same person: pairs worth comparing, how alike their parts are, and what that is evidence of.

    blocking.py   pairs that share at least one key, out of all
    levels.py     how alike two names, dates or numbers are, in a few steps
    weights.py    from steps to a probability (Fellegi and Sunter 1969), learned without labels
    groups.py     what hangs together

Which parts a record has, and what their keys are, a service says itself.
"""
