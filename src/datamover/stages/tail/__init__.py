"""Where does data leave?"""
