"""What can a person ask?"""
