"""How do chunks rest on tapes?"""
