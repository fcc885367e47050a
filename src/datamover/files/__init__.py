"""What is a file?"""
