"""What a check is given: something to test in a setting, with the numbers to test it with."""
