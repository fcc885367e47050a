"""What changes on the way?"""
