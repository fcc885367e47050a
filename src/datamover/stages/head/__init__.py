"""Where does data enter?"""
