"""What happens on the way?"""
