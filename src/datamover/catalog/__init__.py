"""What is known, and where is it?"""
