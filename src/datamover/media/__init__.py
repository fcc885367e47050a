"""Where do chunks rest?"""
