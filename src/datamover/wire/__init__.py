"""What do the bytes mean?"""
