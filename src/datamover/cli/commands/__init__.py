"""What does each command ask, and of whom?"""
