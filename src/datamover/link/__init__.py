"""How do two machines agree?"""
