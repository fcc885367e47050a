"""Where do the bytes stay still?"""
