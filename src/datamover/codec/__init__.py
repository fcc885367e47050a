"""How are the bytes changed?"""
