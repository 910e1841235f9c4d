"""fraud: is this transaction fraudulent?"""
