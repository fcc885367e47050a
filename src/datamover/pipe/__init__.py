"""What is a pipe?"""
