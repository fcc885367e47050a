"""Who is alive, and who must stop?"""
