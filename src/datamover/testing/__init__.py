"""How is it proved?"""
