"""What the farm watches night after night, and what it says about it. Pure: the rules, and the words for them."""
