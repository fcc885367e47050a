"""Where does each file go, and as what?"""
