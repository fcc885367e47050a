"""How do bytes reach a disk?"""
