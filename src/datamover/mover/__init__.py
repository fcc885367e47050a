"""What does a backup do?"""
