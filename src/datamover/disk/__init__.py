"""How do bytes reach a disk, and how is a path opened?"""
